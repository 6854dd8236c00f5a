// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"

	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

// The nodes of the chapter about TLS.
const (
	goodNode = "cp-2"
	badNode  = "cp-3"
)

// tlsStory is the chapter about TLS: one node is as it should be; the other has an etcd that
// serves everybody, and a kubelet that accepts TLS 1.1.
type tlsStory struct {
	*stage
	authority *tlsservers.Authority
	listeners []io.Closer
}

// judgeTLS is the chapter about TLS.
func judgeTLS(ctx context.Context, s *stage) error {
	if s.noPackets != nil {
		s.printLine("  – left out, because the nodes are no machines here: %s", oneLine(s.noPackets))
		return nil
	}
	authority, err := tlsservers.NewAuthority("cluster CA")
	if err != nil {
		return err
	}
	story := &tlsStory{stage: s, authority: authority}
	s.printLine("  · %s has a good etcd and kubelet; on %s, etcd serves everybody, and the kubelet accepts TLS 1.1", goodNode, badNode)
	if err := errors.Join(story.serveNode(goodNode, true), story.serveNode(badNode, false)); err != nil {
		return err
	}
	end, err := story.startObservers(ctx, goodNode, badNode)
	if err != nil {
		return err
	}
	return errors.Join(story.findFaults(ctx), end())
}

// findFaults has the faults found, mends them, and has that found too.
func (s *tlsStory) findFaults(ctx context.Context) error {
	if _, err := s.runKubectl(ctx, "label", "node", goodNode, badNode, "example.test/tls=true"); err != nil {
		return err
	}
	if err := s.showKubectl(ctx, "apply", "-f", "hack/demo/tls.yaml"); err != nil {
		return err
	}
	if err := s.waitForCondition(ctx, v1alpha1.ConditionTLSCompliant, "False", v1alpha1.ReasonNotCompliant); err != nil {
		return err
	}
	what := "both faults are found, with the controls that ask for the opposite, and nothing on " + goodNode
	if err := s.waitAndSay(ctx, what, s.checkFindings); err != nil {
		return err
	}
	if err := s.showKubectl(ctx, "get", "cpnp", "control-plane", "-o",
		"jsonpath={range .status.posture.findings[*]}{.severity} {.message} {.controls}{'\\n'}{end}"); err != nil {
		return err
	}
	s.printLine("\n    Both are mended on %s; another interval has every port probed at once", badNode)
	for _, listener := range s.listeners {
		_ = listener.Close()
	}
	if err := errors.Join(s.serveNode(goodNode, true), s.serveNode(badNode, true)); err != nil {
		return err
	}
	if err := s.showKubectl(ctx, "patch", "cpnp", "control-plane", "--type=merge",
		"-p", `{"spec":{"posture":{"tls":{"intervalSeconds":61}}}}`); err != nil {
		return err
	}
	if err := s.waitForCondition(ctx, v1alpha1.ConditionTLSCompliant, "True", v1alpha1.ReasonCompliant); err != nil {
		return err
	}
	return s.showKubectl(ctx, "delete", "cpnp", "control-plane")
}

// checkFindings checks that exactly the two faults are found, with controls.
func (s *tlsStory) checkFindings(ctx context.Context) (string, error) {
	policy, err := s.getPolicy(ctx)
	if err != nil {
		return "", err
	}
	var found []string
	for _, f := range ptr.Deref(policy.Status.Posture, v1alpha1.PostureStatus{}).Findings {
		found = append(found, fmt.Sprintf("%s %s %s", f.Node, f.Component, f.Check))
		if len(f.Controls) == 0 {
			return "", fmt.Errorf("the finding %s names no control", f.Message)
		}
	}
	if now := strings.Join(found, ", "); now != badNode+" etcd tls-client-certificate, "+badNode+" kubelet tls-version" {
		return "the findings are " + now, nil
	}
	return "", nil
}

// serveNode has a node serve its etcd and its kubelet.
func (s *tlsStory) serveNode(node string, good bool) error {
	address := s.hosts.cluster.Machine(node).Cluster.IPv4.String()
	certificate, err := s.authority.IssueCertificate(tlsservers.Request{Name: node, Names: []string{address}})
	if err != nil {
		return err
	}
	etcd := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: s.authority.RootPool(),
	}
	kubelet := etcd.Clone()
	kubelet.ClientAuth = tls.RequestClientCert
	if !good {
		etcd.ClientAuth, kubelet.MinVersion = tls.NoClientCert, tls.VersionTLS11
	}
	return errors.Join(
		s.serveTLS(node, fmt.Sprintf("%s:%d", address, etcdPort), etcd),
		s.serveTLS(node, fmt.Sprintf("%s:%d", address, kubeletPort), kubelet))
}

func (s *tlsStory) serveTLS(node, endpoint string, config *tls.Config) error {
	web := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: log.New(io.Discard, "", 0)}
	listener, err := s.hosts.cluster.Machine(node).Serve(endpoint, func(conn net.Conn) { tlsservers.ServeHTTP(web, conn, config) })
	if err == nil {
		s.listeners = append(s.listeners, listener)
	}
	return err
}

// startObservers starts the observers of the nodes in this process, with connections from
// the networks of their machines, and returns a function that ends them.
func (s *tlsStory) startObservers(ctx context.Context, nodes ...string) (end func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var running []chan error
	end = func() error {
		cancel()
		var failures []error
		for _, ended := range running {
			failures = append(failures, <-ended)
		}
		return errors.Join(failures...)
	}
	for _, node := range nodes {
		o := options.Probe{NodeName: node, ProbeAddress: "0"}
		managerOptions := o.ManagerOptions()
		managerOptions.Controller.SkipNameValidation = ptr.To(true)
		mgr, err := ctrl.NewManager(options.UnthrottledConfig(s.cluster.Config), managerOptions)
		if err != nil {
			return end, errors.Join(err, end())
		}
		observer := &probe.TLSObserver{Name: node, Roots: func() *x509.CertPool { return s.authority.RootPool() }}
		observer.Prober.Dial = s.hosts.cluster.Machine(node).DialContext
		if err := probe.SetupTLSObserver(mgr, observer); err != nil {
			return end, errors.Join(err, end())
		}
		ended := make(chan error, 1)
		running = append(running, ended)
		go func() { ended <- mgr.Start(ctx) }()
	}
	return end, nil
}
