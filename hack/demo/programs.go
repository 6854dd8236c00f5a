// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// whole is the control plane that the whole story needs.
var whole = testbed.Options{ControllerManager: true, Scheduler: true, Kwok: true}

// programs are those of a control plane that is there already.
type programs struct {
	dir string
	// small says that they are etcd, kube-apiserver and kubectl alone, as
	// setup-envtest installs them: pods are then neither scheduled nor started.
	small bool
}

// findPrograms returns what can be started without building anything: what
// KUBEBUILDER_ASSETS names, else the test bed if it was built, else what
// setup-envtest installed. It returns false where all of it must be built.
func findPrograms(ctx context.Context) (programs, bool, error) {
	if set := os.Getenv("KUBEBUILDER_ASSETS"); set != "" {
		dir, err := filepath.Abs(set)
		if err != nil {
			return programs{}, false, err
		}
		// Whoever names a folder wants that one, or to know what is wrong with it.
		if err := (testbed.Options{}).Missing(dir); err != nil {
			return programs{}, false, err
		}
		return judged(dir), true, nil
	}
	if dir := testbed.FindBuilt(ctx); dir != "" {
		return judged(dir), true, nil
	}
	if installed := testbed.EnvtestAssets(); len(installed) > 0 {
		return judged(installed[0]), true, nil
	}
	return programs{}, false, nil
}

func judged(dir string) programs { return programs{dir: dir, small: whole.Missing(dir) != nil} }
