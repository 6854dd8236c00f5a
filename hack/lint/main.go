// Command golangci-lint is golangci-lint with kube-api-linter compiled in.
//
// The main is the same as the output of `golangci-lint custom`. But `golangci-lint custom`
// clones a git repository each time and leaves no go.sum; a main in the repository is built
// from two pinned and checksummed modules, like the other tools.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/golangci/golangci-lint/v2/pkg/commands"
	"github.com/golangci/golangci-lint/v2/pkg/exitcodes"

	// Registers itself as the module plugin "kubeapilinter".
	_ "sigs.k8s.io/kube-api-linter"
)

func main() {
	if err := commands.Execute(buildInfo()); err != nil {
		fmt.Fprintln(os.Stderr, "golangci-lint:", err)
		os.Exit(exitcodes.Failure)
	}
}

// buildInfo names the version of golangci-lint, not the version of the module.
func buildInfo() commands.BuildInfo {
	var info commands.BuildInfo
	if build, ok := debug.ReadBuildInfo(); ok {
		info.GoVersion = build.GoVersion
		for _, dependency := range build.Deps {
			if dependency.Path == "github.com/golangci/golangci-lint/v2" {
				info.Version = dependency.Version
			}
		}
	}
	return info
}
