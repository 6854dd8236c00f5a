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

// Who the peers are follows the nodes: one that joins the control plane is let
// in, one that leaves it or is deleted is not any more.
func TestNodesThatJoinAndLeaveAreFollowed(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	f.Operator()
	f.Create(f.Policy())
	f.Becomes(field.KubeletPort, field.Only("cp-2", "itself", "loopback"))

	t.Log("the outsider's machine joins as a node of the control plane")
	joining := calico.Node(f.Cluster.Machine(calico.Outsider), testbed.ControlPlaneNode(), testbed.NodeReady(corev1.ConditionTrue))
	f.Expect(testbed.CreateNode(t.Context(), field.Admin, joining)).To(Succeed())
	t.Cleanup(func() { field.DeleteNow(f, joining) })
	f.Becomes(field.KubeletPort, field.Only("cp-2", calico.Outsider, "itself", "loopback"))

	t.Log("it is deleted, and the worker becomes a node of the control plane")
	field.DeleteNow(f, joining)
	label(f, "worker-1", `""`)
	f.Becomes(field.KubeletPort, field.Only("cp-2", "worker-1", "itself", "loopback"))

	t.Log("it is a worker again, and never cut off from itself")
	worker := f.Cluster.Machine("worker-1")
	_, err := worker.Listen(network.TCP, field.KubeletPort)
	f.Expect(err).NotTo(HaveOccurred())
	f.Eventually(func() bool { return slices.Contains(field.Inventory(t), "HostEndpoint/cpnp-worker-1") }, field.Patience, field.Tick).Should(BeTrue())
	watchman := f.WatchPackets(func(cut func(string)) {
		got, err := field.DialBoth(worker, worker.Cluster, network.TCP, field.KubeletPort, network.Within(field.AlmostARetry))
		if err != nil || got != field.Open {
			cut(fmt.Sprint("worker-1 to itself: ", got, err))
		}
	})
	label(f, "worker-1", "null")
	f.Becomes(field.KubeletPort, field.Only("cp-2", "itself", "loopback"))
	f.Eventually(func() bool { return slices.Contains(field.Inventory(t), "HostEndpoint/cpnp-worker-1") }, field.Patience, field.Tick).Should(BeFalse())
	f.Reports(v1alpha1.ConditionProgrammed, "True/AsDeclared")
	f.Expect(watchman.Stop()).To(BeEmpty())
}

func label(f *field.Field, node, value string) {
	f.T.Helper()
	patch := `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":` + value + `}}}`
	object := &corev1.Node{}
	object.Name = node
	f.Expect(field.Admin.Patch(f.T.Context(), object, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}
