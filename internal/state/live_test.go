// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// pages is an API server that answers with one object per page.
type pages struct {
	count   int
	endless bool
	fails   int // the first page that fails
	limits  []int64
}

func (p *pages) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("nobody gets")
}

func (p *pages) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	o := client.ListOptions{}
	o.ApplyOptions(options)
	p.limits = append(p.limits, o.Limit)
	page := 0
	if o.Continue != "" {
		if _, err := fmt.Sscan(o.Continue, &page); err != nil {
			return err
		}
	}
	if p.fails > 0 && page >= p.fails {
		return errors.New("no answer")
	}
	if page+1 < p.count || p.endless {
		list.SetContinue(fmt.Sprint(page + 1))
	}
	name := metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprintf("cpnp.p.%02d", p.count-page)}
	other := metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprintf("theirs-%02d", page)}
	recorded := *name.DeepCopy()
	recorded.Annotations = map[string]string{v1alpha1.AnnotationRecord: "{}", "other": "x"}
	if l, metadata := list.(*metav1.PartialObjectMetadataList); metadata {
		if l.Kind == "NetworkPolicyList" {
			recorded = name
		}
		l.Items = append(l.Items, metav1.PartialObjectMetadata{ObjectMeta: recorded}, metav1.PartialObjectMetadata{ObjectMeta: other})
	}
	return nil
}

// The operator reads all pages from the API server, whatever the cache shows.
// Only objects that may be the operator's are kept, reduced as in the cache.
func TestTheAPIServerIsAskedForAllPages(t *testing.T) {
	g, ctx := NewWithT(t), t.Context()
	p := &pages{count: 3}
	o := state.Observer{Live: p}
	policies, err := o.NetworkPoliciesNow(ctx)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(policies).To(HaveLen(3))
	nodes, _, err := o.NodesNow(ctx)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(nodes).To(HaveExactElements(HaveField("Name", "cpnp.p.01"), HaveField("Name", "cpnp.p.02"), HaveField("Name", "cpnp.p.03")))
	g.Expect(nodes[0].Annotations).To(Equal(map[string]string{v1alpha1.AnnotationRecord: "{}"}))
	services, err := o.ServicesNow(ctx)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(services).To(HaveLen(3))
	g.Expect(services[0].Name).To(Equal("cpnp.p.01"))
	g.Expect(p.limits).To(HaveLen(10))
	g.Expect(p.limits).To(ContainElements(BeNumerically("==", 100)), "no more objects are in memory at once, and no specs")
}

func TestAListFailsWhenAPageFails(t *testing.T) {
	g := NewWithT(t)
	o := state.Observer{Live: &pages{count: 3, fails: 2}}
	_, err := o.ServicesNow(t.Context())
	g.Expect(err).To(MatchError(ContainSubstring("no answer")))
	o.Live = &pages{endless: true}
	_, _, err = o.NodesNow(t.Context())
	g.Expect(err).To(MatchError(ContainSubstring("does not end")))
}

// A look returns the policies in order, and separates the enactments of
// existing policies from those of deleted policies.
func TestALookReadsTheAPIServer(t *testing.T) {
	g := NewWithT(t)
	live := &present{}
	o := state.Observer{Live: live, BackendNow: func(context.Context) (backend.Live, error) {
		return calico.Live{Mode: calico.Native}, nil
	}}
	old := state.Snapshot{Policies: []v1alpha1.ControlPlaneNetworkPolicy{{ObjectMeta: metav1.ObjectMeta{Name: "old"}}}}
	s, err := o.RefreshSnapshot(t.Context(), old)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(s.Policies).To(HaveExactElements(HaveField("Name", "a"), HaveField("Name", "b")))
	g.Expect(s.Enactments).To(HaveExactElements(HaveField("Name", "a.cp-1")))
	g.Expect(s.Outlived).To(HaveExactElements(HaveField("Name", "a.cp-2")))
	g.Expect(calico.Of(s.Backend).Mode).To(Equal(calico.Native))

	o.BackendNow = func(context.Context) (backend.Live, error) { return nil, errors.New("no answer") }
	calicotest.Edit(&old.Backend, func(c *calico.Live) { c.Mode = calico.Native })
	s, err = o.RefreshSnapshot(t.Context(), old)
	g.Expect(err).NotTo(HaveOccurred(), "the rest of the look succeeds")
	g.Expect(s.Policies).To(HaveLen(2))
	g.Expect(s.OnHosts().Availability().Readable).To(BeFalse())
	g.Expect(s.OnHosts().Availability().Problem).To(ContainSubstring("no answer"))
}

// present has two policies, one enactment of an existing policy and one of a deleted policy.
type present struct{ pages }

func (p *present) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch l := list.(type) {
	case *v1alpha1.ControlPlaneNetworkPolicyList:
		l.Items = []v1alpha1.ControlPlaneNetworkPolicy{
			{ObjectMeta: metav1.ObjectMeta{Name: "b", UID: "b"}}, {ObjectMeta: metav1.ObjectMeta{Name: "a", UID: "a"}},
		}
	case *v1alpha1.ControlPlaneNodeEnactmentList:
		for name, owner := range map[string]string{"a.cp-1": "a", "a.cp-2": "before"} {
			e := v1alpha1.ControlPlaneNodeEnactment{Spec: v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: "a"}}
			e.Name, e.OwnerReferences = name, []metav1.OwnerReference{{UID: types.UID(owner)}}
			l.Items = append(l.Items, e)
		}
	}
	return nil
}
