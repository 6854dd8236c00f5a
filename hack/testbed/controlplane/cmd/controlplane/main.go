// Command controlplane is every program of a Kubernetes control plane in one: etcd,
// kube-apiserver, kube-controller-manager, kube-scheduler, kubectl and kwok. The called
// name (or else the first argument) chooses the program. The six programs share nine tenths
// of their code, so a single binary saves compiling, linking and storing the same code six
// times.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// program is a program inside the binary.
type program struct {
	run    func()
	daemon bool // ends with the parent process
}

var programs = map[string]program{
	"etcd":                    {run: runEtcd, daemon: true},
	"kube-apiserver":          {run: runAPIServer, daemon: true},
	"kube-controller-manager": {run: runControllerManager, daemon: true},
	"kube-scheduler":          {run: runScheduler, daemon: true},
	"kwok":                    {run: runKwok, daemon: true},
	"kwok-stages":             {run: printKwokStages},
	"kubectl":                 {run: runKubectl},
}

func main() {
	name := filepath.Base(os.Args[0])
	if _, ok := programs[name]; !ok && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	chosen, ok := programs[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "controlplane: call it by one of these names, or with one as its first argument: %s\n",
			strings.Join(slices.Sorted(maps.Keys(programs)), ", "))
		os.Exit(2)
	}
	if chosen.daemon {
		exitWithParent()
	}
	chosen.run()
}
