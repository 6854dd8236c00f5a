// SPDX-License-Identifier: Apache-2.0

package field

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ListInventory lists the names of all Calico objects of the kinds which the operator
// writes.
func ListInventory(t *testing.T) []string {
	t.Helper()
	g := NewWithT(t)
	var names []string
	for _, list := range []client.ObjectList{
		&v3.TierList{}, &v3.GlobalNetworkSetList{}, &v3.GlobalNetworkPolicyList{}, &v3.HostEndpointList{}, &v3.FelixConfigurationList{},
	} {
		g.Expect(Admin.List(t.Context(), list)).To(Succeed())
		g.Expect(meta.EachListItem(list, func(object runtime.Object) error {
			o := object.(client.Object)
			names = append(names, o.GetObjectKind().GroupVersionKind().Kind+"/"+o.GetName())
			return nil
		})).To(Succeed())
	}
	slices.Sort(names)
	return names
}
