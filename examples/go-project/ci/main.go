// Builds, tests and publishes the project beside it.
package main

import (
	"context"
	"errors"

	"dagger/go-project/internal/dagger"
)

// GoProject is the pipeline of a project in Go.
type GoProject struct {
	// +private
	Source *dagger.Directory
	// +private
	Version string
}

// New makes the pipeline of a project.
func New(
	// The code of the project
	// +defaultPath="."
	// +ignore=["ci", "dagger.json"]
	source *dagger.Directory,
	// The version of Go
	// +default="1.26"
	version string,
) *GoProject {
	return &GoProject{Source: source, Version: version}
}

// toolchain is a container with Go, the code, and caches that all runs share.
func (p *GoProject) toolchain() *dagger.Container {
	return dag.Container().
		From("golang:"+p.Version+"-bookworm").
		WithMountedCache("/go/pkg/mod", dag.CacheVolume("go-mod")).
		WithMountedCache("/root/.cache/go-build", dag.CacheVolume("go-build")).
		WithEnvVariable("CGO_ENABLED", "0").
		WithMountedDirectory("/project", p.Source).
		WithWorkdir("/project")
}

// Test runs the tests, and gives their output.
func (p *GoProject) Test(ctx context.Context) (string, error) {
	return p.toolchain().WithExec([]string{"go", "test", "./..."}).Stdout(ctx)
}

// Vet looks for common mistakes.
func (p *GoProject) Vet(ctx context.Context) error {
	_, err := p.toolchain().WithExec([]string{"go", "vet", "./..."}).Sync(ctx)
	return err
}

// Check does what a change has to pass.
//
// +check
func (p *GoProject) Check(ctx context.Context) error {
	_, failed := p.Test(ctx)
	return errors.Join(failed, p.Vet(ctx))
}

// Build compiles the program.
func (p *GoProject) Build() *dagger.File {
	return p.toolchain().
		WithExec([]string{"go", "build", "-ldflags", "-s -w", "-o", "/words", "."}).
		File("/words")
}

// Image is the program in an image of its own.
func (p *GoProject) Image() *dagger.Container {
	return dag.Container().
		WithFile("/words", p.Build()).
		WithEntrypoint([]string{"/words"})
}

// Publish pushes the image, and gives its name with its digest.
func (p *GoProject) Publish(ctx context.Context, address string) (string, error) {
	return p.Image().Publish(ctx, address)
}
