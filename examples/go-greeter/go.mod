module dagger/go-greeter

go 1.24
