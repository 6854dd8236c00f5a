// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// Outsider is the only machine of a [Cluster] without a node: the outsider is in both
// networks, without a Felix.
const Outsider = "outsider"

// ClusterOptions tells which nodes to create.
type ClusterOptions struct {
	ControlPlane int // nodes cp-1, cp-2, … with the label of the control plane
	Workers      int // nodes worker-1, worker-2, …
	Felix        FelixOptions
	// KubeControllers starts Calico's kube-controllers with the node controller, which
	// creates automatic host endpoints when configured to do so.
	KubeControllers bool
	// ExistingNodes means that the Kubernetes nodes exist already, with the addresses given
	// by [network.New] to the control plane and then to the workers. Stop leaves existing
	// nodes alone.
	ExistingNodes bool
	// Node changes every node, like the arguments of [testbed.Node].
	Node []testbed.NodeOption
}

// Cluster is a set of nodes whose policies are enforced: a machine and a Felix for each
// node, and the Kubernetes node with the machine's addresses in the cluster network.
type Cluster struct {
	calico  *Calico
	network *network.Network
	nodes   []*corev1.Node
	felixes map[string]*Felix

	kubeControllers *supervised
}

// StartCluster returns once every Felix is ready. A cluster is new: without rules or nodes
// of an earlier cluster. After a failure, nothing is left.
func (c *Calico) StartCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	names := o.nodeNames()
	machines, err := network.New(ctx, append(names, Outsider, kubeControllers)...)
	if err != nil {
		return nil, err
	}
	cluster := &Cluster{calico: c, network: machines, felixes: map[string]*Felix{}}
	if !o.ExistingNodes {
		err = cluster.createNodes(ctx, o)
	}
	if err == nil {
		err = cluster.startFelixes(ctx, names, o.Felix)
	}
	if err == nil && o.KubeControllers {
		err = cluster.startKubeControllers(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, cluster.Stop())
	}
	return cluster, nil
}

// startKubeControllers gives the program a separate machine, because the program serves
// metrics on every address, and writes a status file to the root of the file system.
func (c *Cluster) startKubeControllers(ctx context.Context) error {
	m := c.Machine(kubeControllers)
	if _, err := c.calico.reachAPI(ctx, m); err != nil {
		return err
	}
	var err error
	c.kubeControllers, err = c.calico.superviseOn(m, program{
		name: "calico-kube-controllers", file: kubeControllers, env: []string{"ENABLED_CONTROLLERS=node"},
	})
	return err
}

// Machine returns the machine of a node, or the [Outsider].
func (c *Cluster) Machine(name string) *network.Machine { return c.network.Machine(name) }

// Felix returns the Felix of a node.
func (c *Cluster) Felix(node string) *Felix { return c.felixes[node] }

// Stop removes the machines, and deletes the Kubernetes nodes created by StartCluster. The
// error names each program that had ended before.
func (c *Cluster) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var errs []error
	var stopping sync.WaitGroup
	for _, felix := range c.felixes {
		errs = append(errs, felix.Died())
		stopping.Go(felix.Stop)
	}
	if c.kubeControllers != nil {
		errs = append(errs, c.kubeControllers.Died())
		stopping.Go(c.kubeControllers.stopProgram)
	}
	stopping.Wait()
	c.network.Close()
	for _, node := range c.nodes {
		errs = append(errs, client.IgnoreNotFound(c.calico.client.Delete(ctx, node)))
	}
	return errors.Join(errs...)
}

// Node returns the Kubernetes node of a machine, with its addresses in the cluster network.
func Node(m *network.Machine, options ...testbed.NodeOption) *corev1.Node {
	addresses := testbed.InternalIP(m.Cluster.IPv4.String(), m.Cluster.IPv6.String())
	return testbed.Node(m.Name, append([]testbed.NodeOption{addresses}, options...)...)
}

func (o ClusterOptions) nodeNames() []string {
	return append(o.controlPlaneNames(), numberedNames("worker", o.Workers)...)
}

func (o ClusterOptions) controlPlaneNames() []string { return numberedNames("cp", o.ControlPlane) }

func numberedNames(name string, count int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", name, i+1)
	}
	return names
}

func (c *Cluster) createNodes(ctx context.Context, o ClusterOptions) error {
	for i, name := range o.nodeNames() {
		options := append([]testbed.NodeOption{testbed.NodeReady(corev1.ConditionTrue)}, o.Node...)
		if i < o.ControlPlane {
			options = append([]testbed.NodeOption{testbed.ControlPlaneNode()}, options...)
		}
		node := Node(c.Machine(name), options...)
		if err := testbed.CreateNode(ctx, c.calico.client, node); err != nil {
			return err
		}
		c.nodes = append(c.nodes, node)
	}
	return nil
}

// startFelixes starts all Felixes side by side, because most of a start is waiting.
func (c *Cluster) startFelixes(ctx context.Context, nodes []string, o FelixOptions) error {
	felixes, errs := make([]*Felix, len(nodes)), make([]error, len(nodes))
	var starting sync.WaitGroup
	for i, node := range nodes {
		starting.Go(func() { felixes[i], errs[i] = c.calico.StartFelix(ctx, c.Machine(node), o) })
	}
	starting.Wait()
	for i, node := range nodes {
		if errs[i] == nil {
			c.felixes[node] = felixes[i]
		}
	}
	return errors.Join(errs...)
}
