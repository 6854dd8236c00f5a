// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"io"
	"slices"
)

// Options says what to start, besides etcd and the API server.
type Options struct {
	// AssetsDir is the folder of the programs; if empty, that of [FindAssets].
	AssetsDir string

	// CRDPaths are files or folders of CustomResourceDefinitions. They are
	// established before Start returns; a path that does not exist is an error.
	CRDPaths []string

	// ControllerManager starts kube-controller-manager: service accounts,
	// EndpointSlices, NoExecute evictions, garbage collection. Without it a
	// new node keeps the taint node.kubernetes.io/not-ready for good, which
	// the API server puts there and the controller-manager removes.
	ControllerManager bool
	// Scheduler starts kube-scheduler.
	Scheduler bool
	// Kwok starts kwok, which makes the nodes of [Node] Ready and the pods
	// that are bound to them Running.
	Kwok bool

	// AuditLog has the API server log every call; read it with
	// [ControlPlane.Audit].
	AuditLog bool

	// Aggregation lets the API server pass requests on to the servers of
	// APIServices. A Service of type ExternalName that names localhost is how
	// one is reached.
	Aggregation bool

	// APIServerArgs are flags of the API server, without the dashes. They
	// replace what this package or envtest would have set.
	APIServerArgs map[string][]string

	// GiveWay leaves the processor to tests that run at the same time without it, by
	// [Run]: those with packets, whose Felix must not be late.
	GiveWay bool

	// Output gets what the programs print, each line with the program's name
	// before it. Files in [ControlPlane.Dir] get it in any case, and their
	// last lines are in the error when a start fails.
	Output io.Writer
	// Progress is called with one line before each step of the start.
	Progress func(step string)
}

// Missing says which program these options need that is not in a folder.
func (o Options) Missing(dir string) error { return requireAssets(dir, append(o.files(), kubectl)) }

// files are the files of the assets folder that these options need.
func (o Options) files() []string {
	needed := []string{etcd, apiServer}
	for _, optional := range []struct {
		wanted bool
		files  []string
	}{
		{o.ControllerManager, []string{controllerManager}},
		{o.Scheduler, []string{scheduler}},
		{o.Kwok, []string{kwok, kwokStages}},
	} {
		if optional.wanted {
			needed = slices.Concat(needed, optional.files)
		}
	}
	return needed
}

func (o Options) progress(step string) {
	if o.Progress != nil {
		o.Progress(step)
	}
}
