// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	render "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
)

// Calico's API server takes every golden rendering in the order of its writes,
// and written again it says the same. (It is not written again by the operator:
// Calico's API server stores a new time in managedFields then, as if something
// had changed.)
func TestGoldenRenderingsAreAccepted(t *testing.T) {
	inputs, err := filepath.Glob("../../internal/backend/calico/testdata/*.in.yaml")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(inputs).NotTo(BeEmpty())
	for _, input := range inputs {
		t.Run(strings.TrimSuffix(filepath.Base(input), ".in.yaml"), func(t *testing.T) {
			g := NewWithT(t)
			text, err := os.ReadFile(input)
			g.Expect(err).NotTo(HaveOccurred())
			var hosts backend.Hosts
			g.Expect(yaml.Unmarshal(text, &hosts)).To(Succeed())
			hosts = render.WithRulesets(hosts) // on every node, also on those that wait in the golden file
			first := write(t, hosts)
			objects, err := render.Render(hosts)
			g.Expect(err).NotTo(HaveOccurred())
			for i, object := range objects {
				again := apply(t, object)
				g.Expect(again.Object["spec"]).To(Equal(first[i].Object["spec"]), object.GetName())
				g.Expect(again.GetLabels()).To(Equal(first[i].GetLabels()), object.GetName())
			}
		})
	}
}
