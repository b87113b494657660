// A pipeline through the official Go library; prints what it saw as one JSON document.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"dagger.io/dagger"
)

const commands = "cat a.txt sub/b.txt /etc/note; echo; echo $COLOUR; cat /run/token | wc -c; echo to-stderr >&2; " +
	"echo kept > /cache/f"

func main() {
	seen, err := run(context.Background(), os.Args[1])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(seen)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func shell(container *dagger.Container, script string) *dagger.Container {
	return container.WithExec([]string{"sh", "-c", script})
}

// reader keeps the first error of many calls.
type reader struct {
	ctx  context.Context
	seen map[string]any
	err  error
}

func read[T any](r *reader, name string, call func(context.Context) (T, error)) (value T) {
	if r.err != nil {
		return value
	}
	value, r.err = call(r.ctx)
	if name != "" {
		r.seen[name] = value
	}
	return value
}

func run(ctx context.Context, folder string) (map[string]any, error) {
	client, err := dagger.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	r := &reader{ctx: ctx, seen: map[string]any{}}

	secret := client.SetSecret("token", os.Getenv("PIPELINE_SECRET"))
	source := client.Directory().WithNewFile("a.txt", "one\n").WithNewFile("sub/b.txt", "two\n")
	base := client.Container().
		From("busybox:latest").
		WithMountedDirectory("/src", source).
		WithMountedCache("/cache", client.CacheVolume("pipeline-"+os.Getenv("PIPELINE_RUN"))).
		WithMountedSecret("/run/token", secret).
		WithSecretVariable("TOKEN", secret).
		WithEnvVariable("COLOUR", "green").
		WithNewFile("/etc/note", "noted").
		WithWorkdir("/src")
	ran := shell(base, commands)
	stdout := read(r, "stdout", ran.Stdout)
	read(r, "stderr", ran.Stderr)
	read(r, "scrubbed", shell(base, "echo $TOKEN; cat /run/token").Stdout)
	read(r, "cache", base.WithEnvVariable("AGAIN", "1").WithExec([]string{"cat", "/cache/f"}).Stdout)
	// What takes options is called without them.
	entries := func(directory *dagger.Directory) func(context.Context) ([]string, error) {
		return func(ctx context.Context) ([]string, error) { return directory.Entries(ctx) }
	}
	contents := func(file *dagger.File) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) { return file.Contents(ctx) }
	}
	read(r, "entries", entries(source))
	read(r, "sub", contents(source.Directory("sub").File("b.txt")))
	read(r, "size", source.File("a.txt").Size)
	names := []string{}
	for _, variable := range read(r, "", base.EnvVariables) {
		names = append(names, read(r, "", variable.Name))
	}
	slices.Sort(names)
	r.seen["env"] = names
	read(r, "env_value", func(ctx context.Context) (string, error) { return base.EnvVariable(ctx, "COLOUR") })
	if synced := read(r, "", ran.Sync); r.err == nil {
		r.seen["synced"] = read(r, "", synced.Stdout) == stdout
	}
	container := dagger.Ref[*dagger.Container](client, read(r, "", ran.ID))
	r.seen["loaded"] = read(r, "", container.Stdout) == stdout
	read(r, "loaded_entries", entries(dagger.Ref[*dagger.Directory](client, read(r, "", source.ID))))
	read(r, "host", contents(client.Host().Directory(folder).File("host.txt")))
	made := shell(client.Container().From("busybox"), "mkdir /o && echo hi > /o/x").Directory("/o")
	out := filepath.Join(folder, "out")
	read(r, "", func(ctx context.Context) (string, error) { return made.Export(ctx, out) })
	read(r, "exported", func(context.Context) (string, error) {
		contents, err := os.ReadFile(filepath.Join(out, "x"))
		return string(contents), err
	})
	if r.err != nil {
		return nil, r.err
	}

	_, failed := shell(base, "echo some; echo bad >&2; exit 42").Stdout(ctx)
	var exec *dagger.ExecError
	if errors.As(failed, &exec) {
		r.seen["error"] = map[string]any{
			"exit": exec.ExitCode, "stdout": exec.Stdout, "stderr": exec.Stderr, "command": exec.Cmd,
		}
	}
	if _, missing := client.Container().From("busybox").File("/nothing/here").Contents(ctx); missing != nil {
		r.seen["missing"] = missing.Error()
	}
	return r.seen, nil
}
