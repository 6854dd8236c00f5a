// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// installOperator installs the objects of config/default.
func installOperator(t *testing.T) {
	t.Helper()
	NewWithT(t).Expect(cluster.ApplyKustomize(t.Context(), "../../config/default")).To(Succeed())
}

// clientWithRole returns a client of a user with a ClusterRole in the whole cluster.
func clientWithRole(t *testing.T, name, role string) client.Client {
	t.Helper()
	g := NewWithT(t)
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	}
	g.Expect(admin.Create(t.Context(), binding)).To(Succeed())
	t.Cleanup(func() { _ = admin.Delete(context.Background(), binding) })
	return clientAs(t, rest.ImpersonationConfig{UserName: name, Groups: []string{"system:authenticated"}})
}

func clientAs(t *testing.T, who rest.ImpersonationConfig) client.Client {
	t.Helper()
	config := options.UnthrottledConfig(cluster.Config)
	config.Impersonate = who
	c, err := client.New(config, client.Options{Scheme: options.NewScheme()})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return c
}

// A user with the right to patch enactments may confirm a node, and cannot make probes
// connect anywhere.
func TestOthersMayOnlyConfirmANode(t *testing.T) {
	g := NewWithT(t)
	installOperator(t)
	e := createEnactment(t, "hosts.cp-1")
	own := clientWithRole(t, "editor", "cpnp-controlplanenetworkpolicy-editor-role")
	merge := func(c client.Client, patch string) func() error {
		return func() error {
			named := &v1alpha1.ControlPlaneNodeEnactment{ObjectMeta: metav1.ObjectMeta{Name: e.Name}}
			return c.Patch(t.Context(), named, client.RawPatch("application/merge-patch+json", []byte(patch)))
		}
	}
	// A new policy, and a new role, take effect in the API server after a moment.
	g.Eventually(merge(own, `{"metadata":{"annotations":{"cpnp.dev/confirm":"0"}}}`), deadline, interval).Should(Succeed())
	g.Eventually(merge(own, `{"spec":{"probeRound":9}}`), deadline, interval).Should(MatchError(ContainSubstring("only the annotation cpnp.dev/confirm")))

	for name, try := range map[string]func() error{
		"what is tried":  merge(own, `{"spec":{"targets":[{"address":"127.0.0.1","port":2379,"protocol":"TCP"}]}}`),
		"the round":      merge(own, `{"spec":{"probeRound":9223372036854775807}}`),
		"a label":        merge(own, `{"metadata":{"labels":{"x":"y"}}}`),
		"an annotation":  merge(own, `{"metadata":{"annotations":{"x":"y"}}}`),
		"a finalizer":    merge(own, `{"metadata":{"finalizers":["example.com/x"]}}`),
		"another owner":  merge(own, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"x","uid":"y"}]}}`),
		"to confirm and": merge(own, `{"metadata":{"annotations":{"cpnp.dev/confirm":"1"}},"spec":{"probeRound":9}}`),
		"to create one": func() error {
			return own.Create(t.Context(), &v1alpha1.ControlPlaneNodeEnactment{ObjectMeta: metav1.ObjectMeta{Name: "new"}, Spec: e.Spec})
		},
		"the status": func() error {
			return applyStatus(t.Context(), own, "editor", e.Name, map[string]any{"probeRequestHash": "x"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(try()).To(Satisfy(func(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) }))
		})
	}
	g.Expect(merge(own, `{"metadata":{"annotations":{"cpnp.dev/confirm":"1"}}}`)()).To(Succeed())
	g.Expect(merge(own, `{"metadata":{"annotations":{"cpnp.dev/confirm":null}}}`)()).To(Succeed())

	operator := clientAs(t, testbed.Impersonate("cpnp-system", "cpnp-controller-manager", ""))
	g.Expect(merge(operator, `{"metadata":{"labels":{"x":"y"}},"spec":{"probeRound":9}}`)()).To(Succeed(), "the operator's write was refused")
}

// Users with the right to write postures cannot make probes connect anywhere either.
func TestOthersMayNotChangeTheTLSTargets(t *testing.T) {
	g := NewWithT(t)
	installOperator(t)
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "postures"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"cpnp.dev"}, Resources: []string{"controlplanenodepostures"}, Verbs: []string{"create", "update", "patch"},
	}}}
	g.Expect(admin.Create(t.Context(), role)).To(Succeed())
	posture := &v1alpha1.ControlPlaneNodePosture{
		ObjectMeta: metav1.ObjectMeta{Name: "hosts.cp-1"}, Spec: v1alpha1.ControlPlaneNodePostureSpec{Policy: "hosts", Node: "cp-1", IntervalSeconds: 300},
	}
	g.Expect(admin.Create(t.Context(), posture.DeepCopy())).To(Succeed())
	t.Cleanup(func() {
		_ = admin.Delete(context.Background(), role)
		_ = admin.Delete(context.Background(), posture)
	})
	own := clientWithRole(t, "posture-writer", "postures")
	patch := func() error {
		return own.Patch(t.Context(), posture.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(
			`{"spec":{"targets":[{"address":"10.0.0.9","port":22,"component":"kubelet"}]}}`)))
	}
	g.Eventually(patch, deadline, interval).Should(MatchError(ContainSubstring("only the annotation cpnp.dev/confirm")))
	another := posture.DeepCopy()
	another.Name = "hosts.cp-2"
	g.Expect(own.Create(t.Context(), another)).To(MatchError(ContainSubstring("enactments and postures are made by the operator")))
}

// Users get the roles edit and admin for workloads. Neither role decides on access to the
// control plane.
func TestRolesOfTheClusterReachNoPolicy(t *testing.T) {
	installOperator(t)
	allowed := func(c client.Client, verb, resource string) func() (bool, error) {
		return func() (bool, error) {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Group: "cpnp.dev", Resource: resource, Verb: verb},
			}}
			err := c.Create(t.Context(), review)
			return review.Status.Allowed, err
		}
	}
	writes := []string{"create", "update", "patch", "delete", "deletecollection"}
	resources := []string{"controlplanenetworkpolicies", "controlplanenodeenactments", "controlplanenodepostures"}
	own := clientWithRole(t, "owner", "cpnp-controlplanenetworkpolicy-admin-role")
	NewWithT(t).Eventually(allowed(own, "patch", resources[0]), deadline, interval).Should(BeTrue(), "the role for this purpose")

	var roles rbacv1.ClusterRoleList
	NewWithT(t).Expect(admin.List(t.Context(), &roles)).To(Succeed())
	for _, role := range []string{"edit", "admin"} {
		t.Run(role, func(t *testing.T) {
			g := NewWithT(t)
			c := clientWithRole(t, "with-"+role, role)
			for _, resource := range resources {
				for _, verb := range writes {
					g.Expect(allowed(c, verb, resource)()).To(BeFalse(), "%s %s", verb, resource)
				}
			}
			// Rules for the controller of aggregated roles, because the controller may not
			// run here.
			for i := range roles.Items {
				aggregated := &roles.Items[i]
				if aggregated.Labels[fmt.Sprintf("rbac.authorization.k8s.io/aggregate-to-%s", role)] != "true" {
					continue
				}
				for _, rule := range aggregated.Rules {
					for _, group := range rule.APIGroups {
						g.Expect(group).NotTo(Equal("cpnp.dev"), aggregated.Name)
					}
				}
			}
		})
	}
}
