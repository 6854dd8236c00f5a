// SPDX-License-Identifier: Apache-2.0

package stolen

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// as returns a thief with a user's name and groups, bound to ClusterRoles.
func as(t *testing.T, name string, groups []string, roles ...string) thief {
	t.Helper()
	g := NewWithT(t)
	config, err := cluster.AddUser(name, groups...)
	g.Expect(err).NotTo(HaveOccurred())
	for _, role := range roles {
		binding := &rbacv1.ClusterRoleBinding{
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
		}
		binding.Name = strings.ReplaceAll(name, ":", "-") + "-" + role
		g.Expect(admin.Create(t.Context(), binding)).To(Succeed())
	}
	requests, err := rest.HTTPClientFor(config)
	g.Expect(err).NotTo(HaveOccurred())
	return thief{name: name, requests: requests, server: strings.TrimSuffix(cluster.Config.Host, "/")}
}

// The guard refuses foreign changes of the operator's objects. It admits the
// parties that have to change them, and changes of foreign objects.
func TestGuardKeepsOthersFromManagedObjects(t *testing.T) {
	g := NewWithT(t)
	out, err := cluster.Kubectl(t.Context(), "apply", "--server-side", "--kustomize", "../../config/guard").CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), string(out))
	author := &rbacv1.ClusterRole{Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"}, Verbs: []string{"*"}},
		{APIGroups: []string{"projectcalico.org"}, Resources: []string{"*"}, Verbs: []string{"*"}},
	}}
	author.Name = "author"
	g.Expect(admin.Create(t.Context(), author)).To(Succeed())

	installed = time.Now()
	changes := map[string]write{
		"change a NetworkPolicy":  patch(policies+"cpnp.plane.web", `{spec: {podSelector: {matchLabels: {app: other}}}}`),
		"unlabel a NetworkPolicy": patch(policies+"cpnp.plane.web", `{metadata: {labels: {cpnp.dev/policy: null}}}`),
		"add a label of cpnp.dev": patch(policies+"cpnp.plane.web", `{metadata: {labels: {cpnp.dev/x: z}}}`),
		"delete a NetworkPolicy":  remove(policies + "cpnp.plane.web"),
		"change rules":            patch(calicos+"globalnetworkpolicies/cpnp.plane-self", `{spec: {order: 5}}`),
		"delete rules":            remove(calicos + "globalnetworkpolicies/cpnp.plane-self"),
		"change a set":            patch(calicos+"globalnetworksets/cpnp-plane-nodes-0", `{spec: {nets: []}}`),
		"delete a set":            remove(calicos + "globalnetworksets/cpnp-plane-nodes-0"),
		"enforce an endpoint":     patch(calicos+"hostendpoints/cpnp-cp-1", `{metadata: {labels: {cpnp.dev/enforced: "true"}}}`),
		"delete an endpoint":      remove(calicos + "hostendpoints/cpnp-cp-1"),
		"owner of an endpoint":    patch(calicos+"hostendpoints/cpnp-cp-1", `{metadata: {ownerReferences: [{apiVersion: v1, kind: Node, name: gone, uid: "1"}]}}`),
		"change the tier":         patch(calicos+"tiers/cpnp", `{spec: {defaultAction: Deny}}`),
		"delete the tier":         remove(calicos + "tiers/cpnp"),
		"change failsafes":        patch(calicos+"felixconfigurations/node.cp-4", `{spec: {failsafeInboundHostPorts: [{protocol: tcp, port: 1}]}}`),
	}
	foreign := map[string]write{
		"another label":           patch(policies+"cpnp.plane.web", `{metadata: {labels: {example.com/by: flux}}}`),
		"NetworkPolicy of others": patch(policies+"theirs", `{spec: {podSelector: {}}}`),
		"no label":                remove(policies + "cpnp.theirs"),
		"rules of others":         patch(calicos+"globalnetworkpolicies/default.theirs", `{spec: {order: 5}}`),
		"label of the tier":       patch(calicos+"tiers/cpnp", `{metadata: {labels: {example.com/by: flux}}}`),
		"tier of others":          patch(calicos+"tiers/kube-admin", `{metadata: {labels: {example.com/by: flux}}}`),
		"another field of Felix":  patch(calicos+"felixconfigurations/node.cp-4", `{spec: {logSeverityScreen: Debug}}`),
	}
	somebody := as(t, "author", nil, "author")
	somebody.expectAll(t, changes, admission)
	somebody.expectAll(t, foreign, nobody)
	for _, excepted := range []thief{
		as(t, "rescuer", nil, "author", "cpnp-break-glass"),
		as(t, "master", []string{testbed.Masters}),
		as(t, "system:serviceaccount:kube-system:generic-garbage-collector", nil, "author"),
	} {
		excepted.expectAll(t, changes, nobody)
	}
	operator.expectAll(t, admitted, nobody)
}
