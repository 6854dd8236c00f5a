// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"io"
	"slices"
)

// Options tells what to start beside etcd and the API server.
type Options struct {
	// AssetsDir is the folder of the programs; if empty, the folder of [FindAssets].
	AssetsDir string

	// CRDPaths are files or folders of CustomResourceDefinitions. Start returns once these
	// are established; a missing path is an error.
	CRDPaths []string

	// ControllerManager starts kube-controller-manager: service accounts, EndpointSlices,
	// NoExecute evictions, garbage collection. Without a controller-manager, a new node
	// keeps the taint node.kubernetes.io/not-ready for good, because the API server adds
	// the taint and the controller-manager removes the taint.
	ControllerManager bool
	// Scheduler starts kube-scheduler.
	Scheduler bool
	// Kwok starts kwok. Nodes of [Node] then become Ready, and pods on such nodes Running.
	Kwok bool

	// AuditLog makes the API server log every call; read the log with [ControlPlane.Audit].
	AuditLog bool

	// Aggregation lets the API server pass requests to the servers of APIServices. Such a
	// server is reached by a Service of type ExternalName with the name localhost.
	Aggregation bool

	// APIServerArgs are flags of the API server, without the dashes, and replace the flags
	// of testbed or of envtest.
	APIServerArgs map[string][]string

	// GiveWay leaves the processor to concurrent tests without the option, by [Run]: in
	// tests with packets, Felix must not be late.
	GiveWay bool

	// Output receives the output of the programs, each line with the program's name as a
	// prefix. Files in [ControlPlane.Dir] receive the output in any case, and the error of
	// a failed start has the last lines.
	Output io.Writer
	// Progress is called with one line before each step of the start.
	Progress func(step string)
}

// Missing names a needed program that is not in a folder.
func (o Options) Missing(dir string) error {
	return requireAssets(dir, append(o.neededFiles(), kubectl))
}

// neededFiles returns the needed files of the assets folder.
func (o Options) neededFiles() []string {
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

func (o Options) showProgress(step string) {
	if o.Progress != nil {
		o.Progress(step)
	}
}
