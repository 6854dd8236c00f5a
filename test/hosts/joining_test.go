// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// Who the peers are follows the nodes: one that joins the control plane is let
// in, one that leaves it or is deleted is not any more.
func TestNodesThatJoinAndLeaveAreFollowed(t *testing.T) {
	f := enter(t, calico.IPTables)
	f.operator()
	f.create(f.policy())
	f.becomes(kubeletPort, only("cp-2", "itself", "loopback"))

	t.Log("the outsider's machine joins as a node of the control plane")
	joining := calico.Node(f.cluster.Machine(calico.Outsider), testbed.ControlPlaneNode(), testbed.NodeReady(corev1.ConditionTrue))
	f.Expect(testbed.CreateNode(t.Context(), admin, joining)).To(Succeed())
	t.Cleanup(func() { deleteNow(f, joining) })
	f.becomes(kubeletPort, only("cp-2", calico.Outsider, "itself", "loopback"))

	t.Log("it is deleted, and the worker becomes a node of the control plane")
	deleteNow(f, joining)
	f.label("worker-1", `""`)
	f.becomes(kubeletPort, only("cp-2", "worker-1", "itself", "loopback"))

	t.Log("it is a worker again, and never cut off from itself")
	worker := f.cluster.Machine("worker-1")
	_, err := worker.Listen(network.TCP, kubeletPort)
	f.Expect(err).NotTo(HaveOccurred())
	f.Eventually(func() bool { return slices.Contains(inventory(t), "HostEndpoint/cpnp-worker-1") }, patience, tick).Should(BeTrue())
	watchman := f.watchOver(func(cut func(string)) {
		got, err := dialBoth(worker, worker.Cluster, network.TCP, kubeletPort, network.Within(almostARetry))
		if err != nil || got != open {
			cut(fmt.Sprint("worker-1 to itself: ", got, err))
		}
	})
	f.label("worker-1", "null")
	f.becomes(kubeletPort, only("cp-2", "itself", "loopback"))
	f.Eventually(func() bool { return slices.Contains(inventory(t), "HostEndpoint/cpnp-worker-1") }, patience, tick).Should(BeFalse())
	f.reports(v1alpha1.ConditionProgrammed, "True/Programmed")
	f.Expect(watchman.stop()).To(BeEmpty())
}

func (f *field) label(node, value string) {
	f.t.Helper()
	patch := `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":` + value + `}}}`
	object := &corev1.Node{}
	object.Name = node
	f.Expect(admin.Patch(f.t.Context(), object, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}
