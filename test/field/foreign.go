// SPDX-License-Identifier: Apache-2.0

package field

import (
	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// CreateForeignPolicy creates a foreign policy, in a tier before the operator's, with the
// given rules for the selected endpoints.
func (f *Field) CreateForeignPolicy(name, selector string, rules ...v3.Rule) {
	f.T.Helper()
	tier := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "platform"}, Spec: v3.TierSpec{Order: ptr.To(100.0), DefaultAction: ptr.To(v3.Pass)}}
	f.Expect(client.IgnoreAlreadyExists(Admin.Create(f.T.Context(), tier))).To(Succeed())
	f.T.Cleanup(func() { DeleteNow(f, tier) })
	policy := &v3.GlobalNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "platform." + name},
		Spec: v3.GlobalNetworkPolicySpec{
			Tier: "platform", Order: ptr.To(1.0), Selector: selector, Types: []v3.PolicyType{v3.PolicyTypeIngress}, Ingress: rules,
		},
	}
	f.Expect(Admin.Create(f.T.Context(), policy)).To(Succeed())
	f.T.Cleanup(func() { DeleteNow(f, policy) })
}
