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
	// assetsVariable names a folder of programs that are built already.
	assetsVariable = "CPNP_CALICO_ASSETS"
	// buildScript builds the programs, or finds them built.
	// `make testbed-calico` is the same script.
	buildScript = "hack/testbed/build-calico.sh"
)

// FindAssets returns the folder that holds the programs: CPNP_CALICO_ASSETS,
// or else what the build script says. The first build takes minutes; what it
// prints meanwhile goes to progress.
func FindAssets(ctx context.Context, progress io.Writer) (string, error) {
	return testbed.Assets(ctx, assetsVariable, buildScript, progress)
}
