module dagger/go-project

go 1.24
