//! The first code of a module in Go. Its containers have the image in which modules are compiled,
//! so that the first call needs no other.

use super::go_mod::IMAGE;

/// The code of the module `name` with the main object `main`, whose generated package is `import`.
pub(crate) fn code(name: &str, main: &str, import: &str) -> String {
    format!(
        r#"// A generated module for {main} functions
//
// The functions of module {name} are the exported methods of {main}. Change them, or add others:
// their parameters, results and comments make the API.
package main

import (
	"context"

	"{import}"
)

// {main} is the main object of the module.
type {main} struct{{}}

// ContainerEcho returns a container that echoes whatever string argument is provided.
func (m *{main}) ContainerEcho(stringArg string) *dagger.Container {{
	return dag.Container().From("{IMAGE}").WithExec([]string{{"echo", stringArg}})
}}

// GrepDir returns lines that match a pattern in the files of the provided directory.
func (m *{main}) GrepDir(ctx context.Context, directoryArg *dagger.Directory, pattern string) (string, error) {{
	return dag.Container().
		From("{IMAGE}").
		WithMountedDirectory("/mnt", directoryArg).
		WithWorkdir("/mnt").
		WithExec([]string{{"grep", "-R", pattern, "."}}).
		Stdout(ctx)
}}
"#
    )
}
