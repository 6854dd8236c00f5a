// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"context"
	"io"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// The files and folders of an assets folder.
const (
	apiServer       = "apiserver"
	felix           = "calico-felix"
	kubeControllers = "kube-controllers"
	selectors       = "selectors"
	storageCRDs     = "crds"
	nativeCRDs      = "v3-crds"
)

const (
	// assetsVariable names a folder with built programs.
	assetsVariable = "CPNP_CALICO_ASSETS"
	// buildScript builds the programs, or finds the built programs. `make testbed-calico`
	// runs the same script.
	buildScript = "hack/testbed/build-calico.sh"
)

// FindAssets returns the folder of the programs: CPNP_CALICO_ASSETS, or else the folder of
// the build script. The first build takes minutes, and its output goes to progress.
func FindAssets(ctx context.Context, progress io.Writer) (string, error) {
	return testbed.Assets(ctx, assetsVariable, buildScript, progress)
}
