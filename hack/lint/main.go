// Command golangci-lint is golangci-lint with kube-api-linter compiled in.
//
// It is what `golangci-lint custom` would generate. That command clones a git
// repository each time and leaves no go.sum behind; a main of our own is built
// from two pinned and checksummed modules, like everything else here.
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

// buildInfo names the version of golangci-lint itself, not that of this module.
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
