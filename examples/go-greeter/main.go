// Greets people, from Go and from containers.
//
// A small module with every kind of argument and result.
package main

import (
	"context"
	"fmt"
	"strings"

	"dagger/go-greeter/internal/dagger"
)

// Tone is how a greeting sounds.
type Tone string

const (
	// With an exclamation mark
	ToneFriendly Tone = "friendly"
	// With a full stop
	ToneFormal Tone = "formal"
)

// GoGreeter greets people.
type GoGreeter struct {
	// The word before the name
	Salutation string

	// +private
	Names []string
}

// New makes a greeter.
func New(
	// The word before the name
	// +default="Hello"
	salutation string,
) *GoGreeter {
	return &GoGreeter{Salutation: salutation}
}

// Hello greets one person.
func (g *GoGreeter) Hello(
	// The person
	// +default="World"
	name string,
	// +default="friendly"
	tone Tone,
) string {
	mark := "!"
	if tone == ToneFormal {
		mark = "."
	}
	return fmt.Sprintf("%s, %s%s", g.Salutation, name, mark)
}

// Meet adds a person to those whom Greetings greets.
func (g *GoGreeter) Meet(name string) *GoGreeter {
	g.Names = append(g.Names, name)
	return g
}

// Greetings gives a greeting for each person that was met.
func (g *GoGreeter) Greetings() ([]*Greeting, error) {
	if len(g.Names) == 0 {
		return nil, fmt.Errorf("there is nobody to greet; call meet first")
	}
	var all []*Greeting
	for _, name := range g.Names {
		all = append(all, &Greeting{Name: name, Text: g.Hello(name, ToneFriendly)})
	}
	return all, nil
}

// FromContainer greets one person from inside a container.
func (g *GoGreeter) FromContainer(
	ctx context.Context,
	// +default="World"
	name string,
) (string, error) {
	return dag.Container().
		From("busybox").
		WithEnvVariable("NAME", name).
		WithExec([]string{"sh", "-c", fmt.Sprintf(`echo "%s, $NAME, from a container"`, g.Salutation)}).
		Stdout(ctx)
}

// Files lists the Go files of a directory.
func (g *GoGreeter) Files(ctx context.Context, source *dagger.Directory) ([]string, error) {
	return source.Glob(ctx, "**/*.go")
}

// Greeting is a greeting for one person.
type Greeting struct {
	Name string
	Text string
}

// Shout gives the greeting in capitals.
func (g *Greeting) Shout() string {
	return strings.ToUpper(g.Text)
}
