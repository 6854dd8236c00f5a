// SPDX-License-Identifier: Apache-2.0

package field

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"net/netip"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// StartPod starts the machine of a pod on a node. Felix finds this machine by the pod's
// address and by the name of the device, and applies NetworkPolicies to the pod. The known
// machines get a route to the pod.
func (f *Field) StartPod(pod *corev1.Pod, address netip.Addr, known ...string) *network.Machine {
	f.T.Helper()
	f.Expect(Admin.Create(f.T.Context(), pod)).To(Succeed())
	f.T.Cleanup(func() {
		f.Expect(client.IgnoreNotFound(Admin.Delete(context.Background(), pod, client.GracePeriodSeconds(0)))).To(Succeed())
	})
	bare := pod.DeepCopy()
	pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, address.String()
	pod.Status.PodIPs = []corev1.PodIP{{IP: address.String()}}
	f.Expect(Admin.Status().Patch(f.T.Context(), pod, client.MergeFrom(bare))).To(Succeed())
	node := f.Cluster.Machine(pod.Spec.NodeName)
	machine, err := node.Attach(f.T.Context(), pod.Name, deviceName(pod), address)
	f.Expect(err).NotTo(HaveOccurred())
	for _, name := range known {
		_, err := f.Cluster.Machine(name).Output(f.T.Context(), "ip", "route", "replace", address.String(), "via", node.Dedicated.IPv4.String())
		f.Expect(err).NotTo(HaveOccurred())
	}
	return machine
}

// deviceName returns the name of the pod's device on its node (libcalico-go:
// VethNameForWorkload).
func deviceName(pod *corev1.Pod) string {
	sum := sha1.Sum([]byte(pod.Namespace + "." + pod.Name))
	return "cali" + hex.EncodeToString(sum[:])[:11]
}
