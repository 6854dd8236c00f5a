// SPDX-License-Identifier: Apache-2.0

package options

import (
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
)

func TestOwnPod(t *testing.T) {
	g := NewWithT(t)
	host, err := os.Hostname()
	g.Expect(err).NotTo(HaveOccurred())
	file := filepath.Join(t.TempDir(), "namespace")
	g.Expect(ownPod(file)).To(Equal(types.NamespacedName{}), "outside of a cluster")
	g.Expect(os.WriteFile(file, []byte("mounted\n"), 0o600)).To(Succeed())
	g.Expect(ownPod(file)).To(Equal(types.NamespacedName{Namespace: "mounted", Name: host}))
	t.Setenv(podNameVariable, "operator-a")
	t.Setenv(podNamespaceVariable, "cpnp-system")
	g.Expect(ownPod(file)).To(Equal(types.NamespacedName{Namespace: "cpnp-system", Name: "operator-a"}))
}
