// SPDX-License-Identifier: Apache-2.0

package state

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

func TestWhetherK3sLeavesOutItsNetworkPolicyController(t *testing.T) {
	controlPlane := map[string]string{controlPlaneRoles[0]: ""}
	for arguments, want := range map[string]bool{
		``:                                      false,
		`["server"]`:                            false,
		`["server","--disable-network-policy"]`: true,
		`["server","--disable-network-policy","--cluster-init"]`:       true,
		`["server","--disable-network-policy","true"]`:                 true,
		`["server","--disable-network-policy","false"]`:                false,
		`["server","--disable-network-policy=true"]`:                   true,
		`["server","--disable-network-policy=false","--cluster-init"]`: false,
		`["server","--disable","--disable-network-policyX"]`:           false,
		`server --disable-network-policy`:                              false,
	} {
		g := NewWithT(t)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Labels: controlPlane, Annotations: map[string]string{profile.K3sArguments: arguments},
		}}
		g.Expect(nodeFacts(node, AddressesOf(nil, Tunnels{})).WithoutNetworkPolicies).To(Equal(want), arguments)
		slim, err := TransformNode(node)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(nodeFacts(slim.(*corev1.Node), AddressesOf(nil, Tunnels{})).WithoutNetworkPolicies).To(Equal(want), "the node in the cache: %s", arguments)
		g.Expect(NetworkNotesChanged(&corev1.Node{}, slim.(*corev1.Node))).To(Equal(want))
	}
}
