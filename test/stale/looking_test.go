// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"context"
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// condition is "Status/Reason" of the present generation.
func (s *story) condition(kind string) func() string {
	return func() string {
		policy := s.named()
		if err := s.admin.Get(context.Background(), client.ObjectKeyFromObject(policy), policy); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(policy.Status.Conditions, kind)
		if c == nil || c.ObservedGeneration != policy.Generation {
			return "none"
		}
		return string(c.Status) + "/" + c.Reason
	}
}

func (s *story) tell() string {
	policy := s.named()
	if err := s.admin.Get(context.Background(), client.ObjectKeyFromObject(policy), policy); err != nil {
		return err.Error()
	}
	text := ""
	for _, c := range policy.Status.Conditions {
		text += fmt.Sprintf("%s=%s/%s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	for i := range s.nodes {
		text += fmt.Sprintf("%s: %s\n", s.node(i), s.phase(i)())
	}
	return text
}

func (s *story) ready() {
	s.t.Helper()
	s.Eventually(s.condition(v1alpha1.ConditionReady)).Should(Equal("True/AsDeclared"), s.tell)
}

// phase is "Phase/Reason" of a node.
func (s *story) phase(i int) func() string {
	return func() string {
		e := &v1alpha1.ControlPlaneNodeEnactment{}
		if err := s.admin.Get(context.Background(), client.ObjectKey{Name: rollout.EnactmentName(s.name, s.node(i))}, e); err != nil {
			return "none"
		}
		phase := rollout.PhaseOf(e)
		if c := meta.FindStatusCondition(e.Status.Conditions, phase); c != nil {
			return phase + "/" + c.Reason
		}
		return phase
	}
}

// endpoints are the nodes that have rules, with the version of the rules.
func (s *story) endpoints() []string {
	s.t.Helper()
	var list v3.HostEndpointList
	s.Expect(s.admin.List(context.Background(), &list)).To(Succeed())
	var found []string
	for i := range list.Items {
		if list.Items[i].Labels[v1alpha1.LabelPolicy] == s.name {
			found = append(found, list.Items[i].Spec.Node+" "+list.Items[i].Labels[calico.LabelVersion])
		}
	}
	return found
}

// observersOf returns the observers that have answered a probe round of a node.
func (s *story) observersOf(i int) func() []string {
	return func() []string {
		e := &v1alpha1.ControlPlaneNodeEnactment{}
		key := client.ObjectKey{Name: rollout.EnactmentName(s.name, s.node(i))}
		s.Expect(client.IgnoreNotFound(s.admin.Get(context.Background(), key, e))).To(Succeed())
		var names []string
		for _, o := range e.Status.Observers {
			names = append(names, o.Name)
		}
		return names
	}
}

// letsIn tells whether a set of peers has the address of a node.
func (s *story) letsIn(i int) func() bool {
	return func() bool {
		var sets v3.GlobalNetworkSetList
		s.Expect(s.admin.List(context.Background(), &sets, client.MatchingLabels{v1alpha1.LabelPolicy: s.name})).To(Succeed())
		return slices.ContainsFunc(sets.Items, func(set v3.GlobalNetworkSet) bool {
			return slices.Contains(set.Spec.Nets, address(i)+"/32")
		})
	}
}

// versions returns the versions of the rules on nodes.
func (s *story) versions() []string {
	s.t.Helper()
	var found []string
	for _, endpoint := range s.endpoints() {
		_, version, _ := strings.Cut(endpoint, " ")
		found = append(found, version)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// scopedCount returns how many nodes have scoped failsafe ports.
func (s *story) scopedCount() int {
	s.t.Helper()
	var list v3.FelixConfigurationList
	s.Expect(s.admin.List(context.Background(), &list, client.MatchingLabels{v1alpha1.LabelPolicy: s.name})).To(Succeed())
	count := 0
	for i := range list.Items {
		if list.Items[i].Spec.FailsafeInboundHostPorts != nil {
			count++
		}
	}
	return count
}

func (s *story) gone() {
	s.t.Helper()
	s.Eventually(s.policyExists).Should(BeFalse(), s.tell)
}

// policyExists tells whether the policy exists.
func (s *story) policyExists() bool {
	return !apierrors.IsNotFound(s.admin.Get(context.Background(), client.ObjectKeyFromObject(s.named()), s.named()))
}
