// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"cmp"
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// services are the Services with what each adds to the report of one policy: the comparison
// of its traffic policies.
type services struct {
	sum        sum[types.NamespacedName]
	seen       seen[types.NamespacedName, *corev1.Service]
	namespaces map[string]labels.Set
}

// addTo compares the Services that have changed, and adds all Services to a report.
func (s *services) addTo(ctx context.Context, in *report.Input, a pipeline.Assessment, from Sources) error {
	if len(a.Policy.Spec.Services) == 0 {
		return nil
	}
	there, err := from.Observe.CachedServices(ctx)
	if err != nil {
		return err
	}
	namespaces, err := from.Observe.NamespaceLabels(ctx)
	if err != nil {
		return err
	}
	s.seen.look(there, serviceKey, s.sum.mark)
	s.markRelabelled(namespaces)
	if err := s.compareMarked(ctx, a, from); err != nil {
		return err
	}
	s.sum.addTo(&in.Services, in, compareKeys)
	return nil
}

// markRelabelled marks the Services of the namespaces whose labels have changed.
func (s *services) markRelabelled(namespaces map[string]labels.Set) {
	changed := map[string]bool{}
	for _, some := range []map[string]labels.Set{namespaces, s.namespaces} {
		for name := range some {
			if !maps.Equal(namespaces[name], s.namespaces[name]) {
				changed[name] = true
			}
		}
	}
	s.namespaces = namespaces
	if len(changed) == 0 {
		return
	}
	for key := range s.seen.byKey {
		if changed[key.Namespace] {
			s.sum.mark(key)
		}
	}
}

func (s *services) compareMarked(ctx context.Context, a pipeline.Assessment, from Sources) error {
	var selected []state.Service
	marked := s.sum.takeMarked()
	for _, key := range slices.SortedFunc(maps.Keys(marked), compareKeys) {
		service := state.Service{Service: s.seen.byKey[key], NamespaceLabels: s.namespaces[key.Namespace]}
		if service.Service == nil || !a.Policy.SelectsService(service) {
			s.sum.drop(key)
			continue
		}
		selected = append(selected, service)
	}
	if err := from.Observe.AddEndpoints(ctx, selected, plan.WantsLocal(a.Policies)); err != nil {
		s.sum.marked = marked
		return err
	}
	for _, service := range selected {
		claims, losses := plan.ServiceClaims(service, a.Policies)
		outcome := drift.CompareFields(repair.WithMemory(from.History, drift.SharedService(service.Service), service.UID), claims, a.Policies)
		// The report counts Services, not fields.
		s.sum.put(service.Key(), partOf(a.Policy.Name, min(1, countClaims(a.Policy.Name, claims)), outcome.Findings, losses))
		if service.Endpoints.LookedUp { // endpoints change without the Service
			s.sum.mark(service.Key())
		}
	}
	return nil
}

func serviceKey(service *corev1.Service) types.NamespacedName {
	return types.NamespacedName{Namespace: service.Namespace, Name: service.Name}
}

func keyOf(object drift.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: object.Namespace, Name: object.Name}
}

func compareKeys(a, b types.NamespacedName) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
