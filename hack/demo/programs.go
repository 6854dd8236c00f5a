// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// whole is the control plane for the whole story.
var whole = testbed.Options{ControllerManager: true, Scheduler: true, Kwok: true}

// programs are the programs of an existing control plane.
type programs struct {
	dir string
	// small means only etcd, kube-apiserver and kubectl, as installed by setup-envtest:
	// pods are then neither scheduled nor started.
	small bool
}

// findPrograms returns the programs that can be started without a build: the programs in
// KUBEBUILDER_ASSETS, else the built test bed, else the programs installed by
// setup-envtest. It returns false if the programs must be built.
func findPrograms(ctx context.Context) (programs, bool, error) {
	if set := os.Getenv("KUBEBUILDER_ASSETS"); set != "" {
		dir, err := filepath.Abs(set)
		if err != nil {
			return programs{}, false, err
		}
		// A folder named by the user is used, or an error tells why not.
		if err := (testbed.Options{}).Missing(dir); err != nil {
			return programs{}, false, err
		}
		return programsIn(dir), true, nil
	}
	if dir := testbed.FindBuilt(ctx); dir != "" {
		return programsIn(dir), true, nil
	}
	if installed := testbed.EnvtestAssets(); len(installed) > 0 {
		return programsIn(installed[0]), true, nil
	}
	return programs{}, false, nil
}

func programsIn(dir string) programs { return programs{dir: dir, small: whole.Missing(dir) != nil} }
