// SPDX-License-Identifier: Apache-2.0

// Command words measures how the code reads: how many function names have a single word,
// and how many pronouns there are per 100 words of comment. A name of a single word seldom
// tells both the action and the object; a pronoun makes the reader look for a noun.
//
//	go run ./hack/words [-list] [-tests] [DIRECTORY...]
package main

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// pronouns refer to a noun elsewhere, or to no noun in particular.
var pronouns = strings.Fields(`it its itself they them their theirs themselves he him his she her hers one ones
	this that these those what whatever which whichever who whom whose whoever
	somebody someone something anybody anyone anything nobody nothing everybody everyone everything`)

var word = regexp.MustCompile(`[A-Za-z][A-Za-z'-]*`)

// figures are what is counted in some files.
type figures struct {
	functions, oneWord int
	words, pronouns    int
}

func (f *figures) add(other figures) {
	f.functions, f.oneWord = f.functions+other.functions, f.oneWord+other.oneWord
	f.words, f.pronouns = f.words+other.words, f.pronouns+other.pronouns
}

func (f *figures) String() string {
	return fmt.Sprintf("%5d functions, %3.0f %% of one word; %6d words of comment, %4.1f pronouns per 100",
		f.functions, percent(f.oneWord, f.functions), f.words, percent(f.pronouns, f.words))
}

func percent(part, whole int) float64 { return 100 * float64(part) / float64(max(whole, 1)) }

func main() {
	list := flag.Bool("list", false, "list the function names of one word")
	tests := flag.Bool("tests", false, "count the files of tests as well")
	flag.Parse()
	roots := flag.Args()
	if len(roots) == 0 {
		roots = []string{"."}
	}
	packages := map[string]*figures{}
	for _, root := range roots {
		if err := measure(root, packages, *list, *tests); err != nil {
			fmt.Fprintln(os.Stderr, "words:", err)
			os.Exit(1)
		}
	}
	var all figures
	for _, name := range slices.SortedFunc(maps.Keys(packages), cmp.Compare[string]) {
		fmt.Printf("%-32s %s\n", name, packages[name])
		all.add(*packages[name])
	}
	fmt.Printf("%-32s %s\n", "all", &all)
}

// measure adds the figures of every package under root. Generated files do not count, and
// files of tests count only where tests is set.
func measure(root string, packages map[string]*figures, list, tests bool) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !isCounted(path, tests) {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil || ast.IsGenerated(file) {
			return err
		}
		name := filepath.Dir(path)
		if packages[name] == nil {
			packages[name] = &figures{}
		}
		packages[name].add(figuresOf(file, func(function *ast.FuncDecl) {
			if list {
				fmt.Printf("%s: %s\n", set.Position(function.Pos()), function.Name.Name)
			}
		}))
		return nil
	})
}

// isCounted tells whether a file is of Go and, without tests, not of a test.
func isCounted(path string, tests bool) bool {
	return strings.HasSuffix(path, ".go") && (tests || !strings.HasSuffix(path, "_test.go"))
}

// figuresOf counts a file, and calls oneWord with each function whose name has a single
// word.
func figuresOf(file *ast.File, oneWord func(*ast.FuncDecl)) figures {
	var f figures
	for _, declaration := range file.Decls {
		function, is := declaration.(*ast.FuncDecl)
		if !is || slices.Contains([]string{"main", "init", "String", "Error", "Unwrap", "Len", "Less", "Swap"}, function.Name.Name) {
			continue
		}
		f.functions++
		if wordsOf(function.Name.Name) == 1 {
			f.oneWord++
			oneWord(function)
		}
	}
	for _, group := range file.Comments {
		for _, w := range word.FindAllString(strings.ToLower(group.Text()), -1) {
			f.words++
			if slices.Contains(pronouns, w) {
				f.pronouns++
			}
		}
	}
	return f
}

// wordsOf counts the words of a name in camel case; an abbreviation is one.
func wordsOf(name string) int {
	count, lower := 0, false
	for i, r := range name {
		if i == 0 || unicode.IsUpper(r) && lower {
			count++
		}
		lower = !unicode.IsUpper(r)
	}
	return count
}
