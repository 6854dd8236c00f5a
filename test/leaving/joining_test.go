// SPDX-License-Identifier: Apache-2.0

package leaving

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// Peers follow the nodes: a node that joins the control plane is let in, a node that leaves
// the control plane or is deleted is shut out.
func TestNodesThatJoinAndLeaveAreFollowed(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	f.StartOperator()
	f.CreatePolicy(f.NewPolicy())
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))

	t.Log("the outsider's machine joins as a node of the control plane")
	joining := calico.Node(f.Cluster.Machine(calico.Outsider), testbed.ControlPlaneNode(), testbed.NodeReady(corev1.ConditionTrue))
	f.Expect(testbed.CreateNode(t.Context(), field.Admin, joining)).To(Succeed())
	t.Cleanup(func() { field.DeleteNow(f, joining) })
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", calico.Outsider, "itself", "loopback"))

	t.Log("the outsider's node is deleted, and the worker becomes a node of the control plane")
	field.DeleteNow(f, joining)
	labelNode(f, "worker-1", `""`)
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "worker-1", "itself", "loopback"))

	t.Log("the worker loses the role again, and keeps its connections to itself")
	worker := f.Cluster.Machine("worker-1")
	_, err := worker.Listen(network.TCP, field.KubeletPort)
	f.Expect(err).NotTo(HaveOccurred())
	f.Eventually(func() bool { return slices.Contains(field.ListInventory(t), "HostEndpoint/cpnp-worker-1") }, field.Patience, field.Tick).Should(BeTrue())
	watchman := f.WatchPackets(func(cut func(string)) {
		got, err := field.DialBoth(worker, worker.Cluster, network.TCP, field.KubeletPort, network.Within(field.AlmostARetry))
		if err != nil || got != field.Open {
			cut(fmt.Sprint("worker-1 to itself: ", got, err))
		}
	})
	labelNode(f, "worker-1", "null")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.Eventually(func() bool { return slices.Contains(field.ListInventory(t), "HostEndpoint/cpnp-worker-1") }, field.Patience, field.Tick).Should(BeFalse())
	f.WaitForCondition(v1alpha1.ConditionProgrammed, "True/AsDeclared")
	f.Expect(watchman.StopWatching()).To(BeEmpty())
}

func labelNode(f *field.Field, node, value string) {
	f.T.Helper()
	patch := `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":` + value + `}}}`
	object := &corev1.Node{}
	object.Name = node
	f.Expect(field.Admin.Patch(f.T.Context(), object, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}
