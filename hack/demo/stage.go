// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// stage is the cluster of the story: a control plane, and the operator.
type stage struct {
	out      io.Writer
	cluster  *testbed.ControlPlane
	client   client.WithWatch
	operator *exec.Cmd
	logPath  string

	small     bool      // pods are neither scheduled nor started
	noPackets error     // the reason why packets cannot be tried here, if any
	calico    *building // set where packets can be tried
	hosts     *hosts
}

// The nodes: cp-1, cp-2, …, worker-1, worker-2, …
const (
	controlPlaneNodes = 3
	workers           = 3
)

// operatorUser is the operator's user, with the shipped role only.
const operatorUser = "cpnp-operator"

func (s *stage) printLine(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// openStage starts all programs, and prints a line for each slow step.
func (s *stage) openStage(ctx context.Context) (err error) {
	began := time.Now()
	if err := s.startControlPlane(ctx); err != nil {
		return err
	}
	if err := s.lookForPackets(ctx); err != nil {
		return err
	}
	config := options.UnthrottledConfig(s.cluster.Config)
	if s.client, err = client.NewWithWatch(config, client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	s.printLine("· Creating %d control-plane nodes, %d workers, a cluster DNS and a public ingress", controlPlaneNodes, workers)
	if err := s.createNodes(ctx); err != nil {
		return err
	}
	if err := s.startOperator(ctx); err != nil {
		return err
	}
	s.printLine("· Ready after %.0f s", time.Since(began).Seconds())
	return nil
}

// startControlPlane starts existing programs, or builds the programs first.
func (s *stage) startControlPlane(ctx context.Context) error {
	found, there, err := findPrograms(ctx)
	if err != nil {
		return err
	}
	o := testbed.Options{
		AssetsDir: found.dir, CRDPaths: []string{"config/crd/bases"}, Aggregation: true,
		ControllerManager: !found.small, Scheduler: !found.small, Kwok: !found.small,
		Progress: func(step string) { s.printLine("· %s", step) },
	}
	switch s.small = found.small; {
	case !there:
		s.printLine("· No control plane is here yet, so one is built. KUBEBUILDER_ASSETS may name the folder of another one")
	case s.small:
		s.printLine("· The control plane is that of %s", found.dir)
		// No controller would remove the taint of new nodes.
		o.APIServerArgs = map[string][]string{"disable-admission-plugins": {"ServiceAccount", "TaintNodesByCondition"}}
	}
	s.cluster, err = testbed.Start(ctx, o)
	return err
}

// createNodes creates the nodes with the addresses of their later machines (see
// calico.ClusterOptions).
func (s *stage) createNodes(ctx context.Context) error {
	address := func(n int) testbed.NodeOption {
		return testbed.InternalIP(fmt.Sprintf("10.77.0.%d", 10+n), fmt.Sprintf("fd77::%d", 10+n))
	}
	ready := func(*corev1.Node) {} // kwok sets the condition
	if s.small {
		ready = func(node *corev1.Node) {
			testbed.WithoutKwok()(node)
			testbed.NodeReady(corev1.ConditionTrue)(node)
		}
	}
	for i := range controlPlaneNodes {
		cp := testbed.Node(fmt.Sprintf("cp-%d", i+1), testbed.ControlPlaneNode(), address(i+1), ready)
		if err := testbed.CreateNode(ctx, s.client, cp); err != nil {
			return err
		}
	}
	for i := range workers {
		worker := testbed.Node(fmt.Sprintf("worker-%d", i+1), address(controlPlaneNodes+i+1), ready)
		if err := testbed.CreateNode(ctx, s.client, worker); err != nil {
			return err
		}
	}
	if _, err := s.runKubectl(ctx, "apply", "-f", "hack/demo/cluster.yaml"); err != nil || !s.small {
		return err
	}
	return s.serveIngress(ctx)
}

// serveIngress writes ready endpoints for the ingress where no pod runs: with Local, all
// traffic to the ingress would be dropped otherwise.
func (s *stage) serveIngress(ctx context.Context) error {
	service := &corev1.Service{}
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: "default", Name: "ingress"}, service); err != nil {
		return err
	}
	var endpoints []discoveryv1.Endpoint
	for i := range workers {
		endpoints = append(endpoints, testbed.Endpoint(fmt.Sprintf("worker-%d", i+1), fmt.Sprintf("10.88.0.%d", i+1), true))
	}
	return s.client.Create(ctx, testbed.EndpointSlice(service, endpoints...))
}

// startOperator builds the operator, and runs the operator as a separate process.
func (s *stage) startOperator(ctx context.Context) error {
	s.printLine("· Building the operator and starting it with its shipped rights")
	binary := filepath.Join(s.cluster.Dir, "manager")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the operator: %w\n%s", err, output)
	}
	if _, err := s.runKubectl(ctx, "apply", "-f", "config/rbac/role.yaml"); err != nil {
		return err
	}
	binding := []string{"create", "clusterrolebinding", "cpnp-operator", "--clusterrole=manager-role", "--user=" + operatorUser}
	if _, err := s.runKubectl(ctx, binding...); err != nil {
		return err
	}
	besides, err := testbed.ShippedBesides("config", operatorUser)
	if err != nil {
		return err
	}
	for _, object := range besides {
		if err := s.client.Create(ctx, object); err != nil {
			return err
		}
	}
	kubeconfig, err := s.cluster.AddUserKubeconfig(operatorUser)
	if err != nil {
		return err
	}
	s.logPath = filepath.Join(s.cluster.Dir, "operator.log")
	log, err := os.Create(s.logPath)
	if err != nil {
		return err
	}
	defer log.Close()
	s.operator = exec.Command(binary, "--metrics-bind-address=0", "--health-probe-bind-address=0", "--kubeconfig="+kubeconfig)
	s.operator.Stdout, s.operator.Stderr = log, log
	// Ctrl-C reaches only the demo, which then stops the operator in order. If the demo is
	// killed, the kernel kills the operator too (see init).
	s.operator.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return s.operator.Start()
}

// closeStage stops the operator, then the hosts, then the control plane, and also Calico's
// build, if the story ended before the build.
func (s *stage) closeStage() error {
	var failures []error
	if s.calico != nil {
		s.calico.endBuild()
	}
	if s.operator != nil && s.operator.Process != nil {
		failures = append(failures, s.operator.Process.Signal(syscall.SIGTERM))
		if err := s.operator.Wait(); err != nil {
			failures = append(failures, fmt.Errorf("the operator ended with %w", err))
		}
	}
	if s.hosts != nil {
		failures = append(failures, s.hosts.closeHosts())
	}
	if s.cluster != nil {
		failures = append(failures, s.cluster.Stop())
	}
	return errors.Join(failures...)
}

// runKubectl runs kubectl as the admin, within the time limit of a step, and returns the
// output.
func (s *stage) runKubectl(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := s.cluster.Kubectl(ctx, args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(problems.String()))
	}
	return out.String(), nil
}

// showKubectl runs kubectl, and prints the command and its output.
func (s *stage) showKubectl(ctx context.Context, args ...string) error {
	out, err := s.runKubectl(ctx, args...)
	if err != nil {
		return err
	}
	s.printLine("    $ kubectl %s", strings.Join(args, " "))
	for line := range strings.Lines(out) {
		s.printLine("    %s", strings.TrimRight(line, "\n"))
	}
	return nil
}
