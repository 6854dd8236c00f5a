// SPDX-License-Identifier: Apache-2.0

package uninstall_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/uninstall"
)

const namespace = "cpnp-system"

func policyNamed(name string) *v1alpha1.ControlPlaneNetworkPolicy {
	return &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "uid", Finalizers: []string{v1alpha1.Finalizer}}}
}

// cluster has policies, and an operator that renews its lease and finishes
// deletions, unless the test switches that off.
type cluster struct {
	client.Client
	renews, finishes bool
	renewed          time.Time
	deleted          []string
	// afterDelete runs after a deletion, and listing is the error of a list.
	afterDelete func(client.WithWatch)
	listing     error
}

func newCluster(policies ...client.Object) *cluster {
	c := &cluster{renews: true, finishes: true, renewed: time.Unix(1_700_000_000, 0)}
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: options.LeaderElectionID},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("pod-1"), RenewTime: ptr.To(metav1.NewMicroTime(c.renewed))},
	}
	store := fake.NewClientBuilder().WithScheme(options.NewScheme()).WithObjects(append(policies, lease)...).Build()
	c.Client = interceptor.NewClient(store, interceptor.Funcs{
		Get: func(ctx context.Context, w client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			err := w.Get(ctx, key, object, opts...)
			if lease, is := object.(*coordinationv1.Lease); is && err == nil && c.renews {
				c.renewed = c.renewed.Add(2 * time.Second)
				lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(c.renewed))
			}
			return err
		},
		List: func(ctx context.Context, w client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if c.listing != nil {
				return c.listing
			}
			err := w.List(ctx, list, opts...)
			policies, is := list.(*v1alpha1.ControlPlaneNetworkPolicyList)
			if err != nil || !is || !c.finishes {
				return err
			}
			for _, policy := range policies.Items {
				if policy.DeletionTimestamp == nil {
					continue
				}
				policy.Finalizers = nil
				if err := w.Update(ctx, &policy); err != nil {
					return err
				}
			}
			return nil
		},
		Delete: func(ctx context.Context, w client.WithWatch, object client.Object, opts ...client.DeleteOption) error {
			c.deleted = append(c.deleted, object.GetName())
			err := w.Delete(ctx, object, opts...)
			if c.afterDelete != nil {
				c.afterDelete(w)
			}
			return err
		},
	})
	return c
}

func (c *cluster) uninstall(t *testing.T) (told string, err error) {
	var out bytes.Buffer
	u := &uninstall.Uninstall{
		Client: c, Out: &out, Namespace: namespace,
		Timeout: 300 * time.Millisecond, LeaderTimeout: 300 * time.Millisecond, Poll: 10 * time.Millisecond,
	}
	err = u.Run(t.Context())
	return out.String(), err
}

func TestPoliciesAreDeletedAndWaitedFor(t *testing.T) {
	g := NewWithT(t)
	c := newCluster(policyNamed("a"), policyNamed("b"))
	told, err := c.uninstall(t)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(told).To(And(ContainSubstring("Deleting the policy a"), ContainSubstring("Deleting the policy b"), HaveSuffix("All policies are gone\n")))
	left := &v1alpha1.ControlPlaneNetworkPolicyList{}
	g.Expect(c.List(t.Context(), left)).To(Succeed())
	g.Expect(left.Items).To(BeEmpty())
}

func TestUninstallWithoutPoliciesNeedsNoOperator(t *testing.T) {
	c := newCluster()
	c.renews = false
	told, err := c.uninstall(t)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(told).To(ContainSubstring("There is no policy"))
}

// A policy that is deleted while no operator runs would stay forever.
func TestNothingIsDeletedWithoutAnOperator(t *testing.T) {
	for name, change := range map[string]func(c *cluster){
		"the operator does not renew its lease": func(c *cluster) { c.renews = false },
		"there is no lease": func(c *cluster) {
			lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: options.LeaderElectionID}}
			if err := c.Delete(context.Background(), lease); err != nil {
				panic(err)
			}
			c.deleted = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			c := newCluster(policyNamed("a"))
			change(c)
			_, err := c.uninstall(t)
			g.Expect(err).To(MatchError(And(
				ContainSubstring("no operator runs"), ContainSubstring("none was deleted"), ContainSubstring("kubectl get pods -n cpnp-system"))))
			g.Expect(c.deleted).To(BeEmpty())
		})
	}
}

func TestErrorNamesThePoliciesThatAreLeft(t *testing.T) {
	g := NewWithT(t)
	stuck := policyNamed("stuck")
	stuck.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "False", Reason: "Deleting", Message: "left to restore: Node/cp-1"}}
	c := newCluster(stuck)
	c.finishes = false
	told, err := c.uninstall(t)
	g.Expect(err).To(MatchError(And(ContainSubstring("not everything is rolled back"), ContainSubstring("policy stuck: left to restore: Node/cp-1"))))
	g.Expect(told).To(ContainSubstring("Waiting for the operator: policy stuck: left to restore: Node/cp-1"))
	g.Expect(bytes.Count([]byte(told), []byte("Waiting"))).To(Equal(1), "the same message is not repeated")
}

// The API server fails exactly when the reader needs to know which policies are left.
func TestErrorNamesThePoliciesThatAreLeftAfterAFailedRead(t *testing.T) {
	g := NewWithT(t)
	c := newCluster(policyNamed("a"))
	c.afterDelete = func(client.WithWatch) { c.listing = context.DeadlineExceeded }
	_, err := c.uninstall(t)
	g.Expect(err).To(MatchError(And(ContainSubstring("not everything is rolled back"), ContainSubstring("policy a"), ContainSubstring("listing the policies"))))
	g.Expect(err).NotTo(MatchError(ContainSubstring("created since")))
}

// If a tool creates a policy again, the error names it as the cause.
func TestErrorNamesPoliciesThatWereCreatedMeanwhile(t *testing.T) {
	g := NewWithT(t)
	c := newCluster(policyNamed("a"))
	again := policyNamed("again")
	again.UID = "other"
	c.afterDelete = func(w client.WithWatch) { g.Expect(w.Create(t.Context(), again)).To(Succeed()) }
	_, err := c.uninstall(t)
	g.Expect(err).To(MatchError(And(ContainSubstring("policy again: it was created since"), ContainSubstring("GitOps"))))
	g.Expect(c.deleted).To(ConsistOf("a"))
}

func TestPolicyInDeletionIsOnlyWaitedFor(t *testing.T) {
	g := NewWithT(t)
	going := policyNamed("going")
	c := newCluster(going)
	g.Expect(c.Delete(t.Context(), going)).To(Succeed())
	c.deleted = nil
	_, err := c.uninstall(t)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(c.deleted).To(BeEmpty())
}
