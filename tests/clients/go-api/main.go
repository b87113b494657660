// Prints the exported API of the Go packages in folders, as JSON: each name with its declaration. The names of
// parameters are left out, since callers do not see them. It fails for a file that gofmt would change.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	found := []api{}
	for _, folder := range os.Args[1:] {
		read, err := apiOf(folder)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		found = append(found, read)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// api is the declaration of every exported name. Members follow their type and a dot.
type api map[string]string

func apiOf(folder string) (api, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("no Go files in " + folder)
	}
	found := api{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		formatted, err := format.Source(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if !bytes.Equal(formatted, text) {
			return nil, errors.New(name + " is not formatted by gofmt")
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, declared := range file.Decls {
			found.declaration(declared)
		}
	}
	return found, nil
}

func (a api) declaration(declared ast.Decl) {
	switch declared := declared.(type) {
	case *ast.FuncDecl:
		a.function(declared)
	case *ast.GenDecl:
		for _, spec := range declared.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				a.typeSpec(spec)
			case *ast.ValueSpec:
				a.values(declared.Tok, spec)
			}
		}
	}
}

func (a api) function(declared *ast.FuncDecl) {
	name := declared.Name.Name
	if declared.Recv != nil {
		receiver := strings.TrimPrefix(types.ExprString(declared.Recv.List[0].Type), "*")
		if !ast.IsExported(receiver) {
			return
		}
		name = receiver + "." + name
	}
	if declared.Name.IsExported() {
		a[name] = "func" + parameters("[", declared.Type.TypeParams, "]") + signature(declared.Type)
	}
}

func (a api) typeSpec(spec *ast.TypeSpec) {
	if !spec.Name.IsExported() {
		return
	}
	name := spec.Name.Name
	start := "type" + parameters("[", spec.TypeParams, "]") + " "
	if spec.Assign.IsValid() {
		start += "= "
	}
	switch kind := spec.Type.(type) {
	case *ast.StructType:
		a[name] = start + "struct"
		a.members(name, kind.Fields)
	case *ast.InterfaceType:
		a[name] = start + "interface"
		a.members(name, kind.Methods)
	default:
		a[name] = start + types.ExprString(kind)
	}
}

func (a api) members(of string, list *ast.FieldList) {
	for _, member := range list.List {
		text := types.ExprString(member.Type)
		if method, ok := member.Type.(*ast.FuncType); ok {
			text = "func" + signature(method)
		}
		if member.Tag != nil {
			text += " " + member.Tag.Value
		}
		if len(member.Names) == 0 {
			a[of+"."+types.ExprString(member.Type)] = "embedded"
		}
		for _, name := range member.Names {
			if name.IsExported() {
				a[of+"."+name.Name] = text
			}
		}
	}
}

func (a api) values(token token.Token, spec *ast.ValueSpec) {
	for i, name := range spec.Names {
		if !name.IsExported() {
			continue
		}
		text := token.String()
		if spec.Type != nil {
			text += " " + types.ExprString(spec.Type)
		}
		if len(spec.Values) > i {
			text += " = " + types.ExprString(spec.Values[i])
		}
		a[name.Name] = text
	}
}

func signature(function *ast.FuncType) string {
	text := parameters("(", function.Params, ")")
	if function.Results != nil {
		text += " " + parameters("(", function.Results, ")")
	}
	return text
}

// parameters are the types of a list, without names.
func parameters(open string, list *ast.FieldList, end string) string {
	if list == nil {
		return map[string]string{"(": "()"}[open]
	}
	var all []string
	for _, field := range list.List {
		for range max(len(field.Names), 1) {
			all = append(all, types.ExprString(field.Type))
		}
	}
	return open + strings.Join(all, ", ") + end
}
