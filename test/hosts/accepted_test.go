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

// Calico's API server accepts every golden rendering in the order of writes, and a second
// write changes no object. (The operator makes no second write: Calico's API server would
// store a new time in managedFields, as if the object had changed.)
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
			hosts = render.WithRulesets(hosts) // on every node, also on nodes still waiting in the golden file
			first := applyObjects(t, hosts)
			objects, err := render.Render(hosts)
			g.Expect(err).NotTo(HaveOccurred())
			for i, object := range objects {
				again := applyObject(t, object)
				g.Expect(again.Object["spec"]).To(Equal(first[i].Object["spec"]), object.GetName())
				g.Expect(again.GetLabels()).To(Equal(first[i].GetLabels()), object.GetName())
			}
		})
	}
}
