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

// writer is who writes a flood: a user with a role of its own, or with the rights of its
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

// ofTenant writes one kind in the tenant's namespace.
func ofTenant(group, resource string) func(int) writer {
	return func(int) writer {
		return writer{name: "writer-of-" + resource, namespace: tenant, rules: mayWrite(group, resource)}
	}
}

// ofCluster writes one kind that is in no namespace.
func ofCluster(group, resource string) func(int) writer {
	return func(int) writer { return writer{name: "writer-of-" + resource, rules: mayWrite(group, resource)} }
}

// kubelet registers its own node, and writes to that alone.
func kubelet(i int) writer {
	return writer{name: fmt.Sprint("system:node:node-", i), groups: []string{"system:nodes"}}
}

// grant makes the writers of a flood, and returns when they may write.
func (f flood) grant(t *testing.T, g *WithT, writers map[string]client.Client) {
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
		g.Expect(c.Create(t.Context(), declared("theirs", victim), client.DryRunAll)).To(Satisfy(apierrors.IsForbidden), "it may do nothing else")
		writers[w.name] = c
	}
}
