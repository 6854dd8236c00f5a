// SPDX-License-Identifier: Apache-2.0

package calico

import (
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
)

// Kinds are the kinds of Calico that the operator writes. The zero value is ready to use.
type Kinds struct{}

func init() { backend.Register(Kinds{}) }

// Names are the names of the kinds.
func (Kinds) Names() []string {
	return []string{
		v3.KindTier, v3.KindGlobalNetworkSet, v3.KindGlobalNetworkPolicy, v3.KindHostEndpoint, v3.KindFelixConfiguration,
	}
}

// Traits returns what an object of Calico stands for.
func (Kinds) Traits(object backend.Object) (t backend.Traits, ours bool) {
	kind := ""
	switch o := object.(type) {
	case *v3.Tier:
		kind, t.Stage, t.Common = v3.KindTier, backend.StageAddresses, true
	case *v3.GlobalNetworkSet:
		kind, t.Stage, t.Set = v3.KindGlobalNetworkSet, backend.StageAddresses, o.Labels[LabelPeer]
	case *v3.GlobalNetworkPolicy:
		kind, t.Stage, t.Version = v3.KindGlobalNetworkPolicy, backend.StageRules, o.Labels[LabelVersion]
		// The API server of Calico v3.32.0 answers a server-side apply of a missing policy
		// with "not found" (calico issue 12841).
		t.Denies, t.NeedsCreate = IsDenyPolicy(o), true
	case *v3.HostEndpoint:
		kind, t.Stage, t.Version, t.Node = v3.KindHostEndpoint, backend.StageEndpoints, o.Labels[LabelVersion], o.Spec.Node
	case *v3.FelixConfiguration:
		kind, t.Stage, t.Version, t.Shared = v3.KindFelixConfiguration, backend.StageScopedFailsafes, o.Labels[LabelVersion], true
		t.Node = NodeOfFelixConfiguration(o.Name)
	default:
		return t, false
	}
	t.Kind = v3.SchemeGroupVersion.WithKind(kind)
	return t, true
}

// Content returns the fields of an object that the operator writes.
func (Kinds) Content(object backend.Object) (map[string]any, error) { return WrittenContent(object) }

// HasNameFor tells whether a policy or network set has a name that the operator gives to
// objects of the policy.
func (Kinds) HasNameFor(object backend.Object, policy string) bool { return HasNameFor(object, policy) }
