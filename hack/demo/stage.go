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

// stage is what the story plays on: a control plane, and the operator.
type stage struct {
	out      io.Writer
	cluster  *testbed.ControlPlane
	client   client.WithWatch
	operator *exec.Cmd
	logPath  string

	small     bool      // pods are neither scheduled nor started
	noPackets error     // why packets can not be tried here, if so
	calico    *building // else
	hosts     *hosts
}

// The nodes: cp-1, cp-2, …, worker-1, worker-2, …
const (
	controlPlaneNodes = 3
	workers           = 3
)

// operatorUser is whom the operator acts as: it has the shipped role, no more.
const operatorUser = "cpnp-operator"

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// open starts everything, with a line for each step that takes long.
func (s *stage) open(ctx context.Context) (err error) {
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
	s.say("· Creating %d control-plane nodes, %d workers, a cluster DNS and a public ingress", controlPlaneNodes, workers)
	if err := s.populate(ctx); err != nil {
		return err
	}
	if err := s.startOperator(ctx); err != nil {
		return err
	}
	s.say("· Ready after %.0f s", time.Since(began).Seconds())
	return nil
}

// startControlPlane starts the programs that are there, or builds them first.
func (s *stage) startControlPlane(ctx context.Context) error {
	found, there, err := findPrograms(ctx)
	if err != nil {
		return err
	}
	o := testbed.Options{
		AssetsDir: found.dir, CRDPaths: []string{"config/crd/bases"}, Aggregation: true,
		ControllerManager: !found.small, Scheduler: !found.small, Kwok: !found.small,
		Progress: func(step string) { s.say("· %s", step) },
	}
	switch s.small = found.small; {
	case !there:
		s.say("· No control plane is here yet, so one is built. KUBEBUILDER_ASSETS may name the folder of another one")
	case s.small:
		s.say("· The control plane is that of %s", found.dir)
		// Nobody would take the taint of new nodes away.
		o.APIServerArgs = map[string][]string{"disable-admission-plugins": {"ServiceAccount", "TaintNodesByCondition"}}
	}
	s.cluster, err = testbed.Start(ctx, o)
	return err
}

// populate creates the nodes with the addresses that their machines get when
// there are to be some (see calico.ClusterOptions).
func (s *stage) populate(ctx context.Context) error {
	address := func(n int) testbed.NodeOption {
		return testbed.InternalIP(fmt.Sprintf("10.77.0.%d", 10+n), fmt.Sprintf("fd77::%d", 10+n))
	}
	ready := func(*corev1.Node) {} // as kwok has it
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
	if _, err := s.kubectl(ctx, "apply", "-f", "hack/demo/cluster.yaml"); err != nil || !s.small {
		return err
	}
	return s.serveIngress(ctx)
}

// serveIngress says that the ingress runs, where no pod does: Local would otherwise
// drop all its traffic.
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

// startOperator builds the operator and runs it as a process of its own.
func (s *stage) startOperator(ctx context.Context) error {
	s.say("· Building the operator and starting it with its shipped role")
	binary := filepath.Join(s.cluster.Dir, "manager")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the operator: %w\n%s", err, output)
	}
	if _, err := s.kubectl(ctx, "apply", "-f", "config/rbac/role.yaml"); err != nil {
		return err
	}
	binding := []string{"create", "clusterrolebinding", "cpnp-operator", "--clusterrole=manager-role", "--user=" + operatorUser}
	if _, err := s.kubectl(ctx, binding...); err != nil {
		return err
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
	// Ctrl-C reaches the demo, which then ends the operator in order; a demo
	// that is killed takes the operator with it (see init).
	s.operator.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return s.operator.Start()
}

// close ends the operator, then the hosts, then the control plane; and Calico's build, if
// the story ended before.
func (s *stage) close() error {
	var failures []error
	if s.calico != nil {
		s.calico.end()
	}
	if s.operator != nil && s.operator.Process != nil {
		failures = append(failures, s.operator.Process.Signal(syscall.SIGTERM))
		if err := s.operator.Wait(); err != nil {
			failures = append(failures, fmt.Errorf("the operator ended with %w", err))
		}
	}
	if s.hosts != nil {
		failures = append(failures, s.hosts.close())
	}
	if s.cluster != nil {
		failures = append(failures, s.cluster.Stop())
	}
	return errors.Join(failures...)
}

// kubectl runs kubectl as the admin, for no longer than a step may take, and
// returns what it prints.
func (s *stage) kubectl(ctx context.Context, args ...string) (string, error) {
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

// show runs kubectl and prints the command and what it printed.
func (s *stage) show(ctx context.Context, args ...string) error {
	out, err := s.kubectl(ctx, args...)
	if err != nil {
		return err
	}
	s.say("    $ kubectl %s", strings.Join(args, " "))
	for line := range strings.Lines(out) {
		s.say("    %s", strings.TrimRight(line, "\n"))
	}
	return nil
}
