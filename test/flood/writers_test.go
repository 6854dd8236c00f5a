// SPDX-License-Identifier: Apache-2.0

package flood

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// writer is the author of a flood: a user with a role of its own, or with the rights of its
// groups.
type writer struct {
	name      string
	groups    []string
	namespace string
	rules     []rbacv1.PolicyRule
}

func mayWrite(group, resource string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{"create", "patch"}}}
}

// ofTenant returns writers of one kind in the tenant's namespace.
func ofTenant(group, resource string) func(int) writer {
	return func(int) writer {
		return writer{name: "writer-of-" + resource, namespace: tenant, rules: mayWrite(group, resource)}
	}
}

// ofCluster returns writers of one cluster-scoped kind.
func ofCluster(group, resource string) func(int) writer {
	return func(int) writer { return writer{name: "writer-of-" + resource, rules: mayWrite(group, resource)} }
}

// kubelet returns a writer that registers its own node, and writes only to this node.
func kubelet(i int) writer {
	return writer{name: fmt.Sprint("system:node:node-", i), groups: []string{"system:nodes"}}
}

// grantWriters creates the writers of a flood, and waits until the writers have their
// rights.
func (f flood) grantWriters(t *testing.T, g *WithT, writers map[string]client.Client) {
	t.Helper()
	if f.as == nil {
		return
	}
	for i := range f.count {
		w := f.as(i)
		if writers[w.name] != nil {
			continue
		}
		if len(w.rules) > 0 {
			for _, object := range testbed.RoleOf(w.name, w.namespace, w.rules...) {
				g.Expect(admin.Create(t.Context(), object)).To(Succeed())
			}
		}
		config, err := cluster.AddUser(w.name, w.groups...)
		g.Expect(err).NotTo(HaveOccurred())
		c, err := client.New(options.UnthrottledConfig(config), client.Options{Scheme: admin.Scheme(), Mapper: admin.RESTMapper()})
		g.Expect(err).NotTo(HaveOccurred())
		g.Eventually(func() error { return c.Create(t.Context(), f.make(i), client.DryRunAll) }).ShouldNot(Satisfy(apierrors.IsForbidden))
		g.Expect(c.Create(t.Context(), newPolicy("theirs", victim), client.DryRunAll)).To(Satisfy(apierrors.IsForbidden), "a writer has other rights too")
		writers[w.name] = c
	}
}
