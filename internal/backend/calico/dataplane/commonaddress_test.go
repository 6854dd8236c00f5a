// SPDX-License-Identifier: Apache-2.0

package dataplane_test

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
)

// The most common address is never one of the few addresses that a rule names,
// wherever in the network the few addresses are.
func TestCommonIsOfTheClassOfMostAddresses(t *testing.T) {
	for name, test := range map[string]struct {
		nets     []string
		in, want string
	}{
		"no named networks":                       {in: "10.0.0.0/8", want: "10.0.0.0"},
		"a quarter is named, at the start":        {nets: []string{"10.0.0.0/10"}, in: "10.0.0.0/8", want: "10.64.0.0"},
		"three quarters are named":                {nets: []string{"10.0.0.0/9", "10.128.0.0/10"}, in: "10.0.0.0/8", want: "10.0.0.0"},
		"a quarter and the second half are named": {nets: []string{"10.0.0.0/10", "10.128.0.0/9"}, in: "10.0.0.0/8", want: "10.0.0.0"},
		"the end is named":                        {nets: []string{"10.255.0.0/16"}, in: "10.0.0.0/8", want: "10.0.0.0"},
		"all":                                     {nets: []string{"10.0.0.0/8"}, in: "10.0.0.0/8", want: "10.0.0.0"},
		"a single address":                        {nets: []string{"10.0.0.0/8"}, in: "10.1.2.3/32", want: "10.1.2.3"},
		"IPv6, of which half is named":            {nets: []string{"2000::/4"}, in: "2000::/3", want: "2000::"},
		"IPv6, of which a quarter is named":       {nets: []string{"2000::/5"}, in: "2000::/3", want: "2800::"},
	} {
		t.Run(name, func(t *testing.T) {
			policy := v3.GlobalNetworkPolicy{Spec: v3.GlobalNetworkPolicySpec{Selector: "all()", Ingress: []v3.Rule{{Action: v3.Deny}}}}
			policy.Name = "default.theirs"
			policy.Spec.Ingress[0].Source.Nets = test.nets
			endpoint := v3.HostEndpoint{Spec: v3.HostEndpointSpec{Node: "a", InterfaceName: "*"}}
			endpoint.Name = "a"
			world := dataplane.NewWorld(calico.Live{
				Tiers:    []v3.Tier{{}},
				Policies: []v3.GlobalNetworkPolicy{policy}, Endpoints: []v3.HostEndpoint{endpoint},
			}, []dataplane.Node{{Name: "a"}})
			got := world.BuildClasses().MostCommonAddress(netip.MustParsePrefix(test.in))
			NewWithT(t).Expect(got.String()).To(Equal(test.want))
		})
	}
}
