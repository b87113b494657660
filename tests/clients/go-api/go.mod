module rondel/go-api

go 1.24
