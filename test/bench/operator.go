// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// operator is the operator's process.
type operator struct {
	*process
	metricsAddress, token string
}

// startOperator starts the operator, and returns once the operator has read the cluster.
func (b *bench) startOperator(ctx context.Context) error {
	kubeconfig, err := b.cluster.AddUserKubeconfig(operatorUser)
	if err != nil {
		return err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		return err
	}
	limit := fmt.Sprintf("MEMORY_LIMIT=%d", b.memoryLimit<<20) // as the downward API sets the variable in a cluster
	process, err := b.startProgram(ctx, "operator", b.program, []string{limit},
		"--kubeconfig="+kubeconfig, "--metrics-bind-address="+address, "--health-probe-bind-address=0")
	if err != nil {
		return err
	}
	request := &authenticationv1.TokenRequest{}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "scraper"}}
	if err := b.admin.SubResource("token").Create(ctx, account, request); err != nil {
		return err
	}
	b.operator = &operator{process: process, metricsAddress: address, token: request.Status.Token}
	return b.operator.waitUntilIdle(ctx)
}

// readMetrics returns the operator's metrics by name, summed over all labels.
func (o *operator) readMetrics(ctx context.Context) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+o.metricsAddress+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+o.token)
	// The operator makes a certificate at each start, and no client can know this
	// certificate.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reading the operator's metrics: %s", response.Status)
	}
	sums := map[string]float64{}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		line := lines.Text()
		end, value := strings.IndexAny(line, "{ "), strings.LastIndexByte(line, ' ')
		if number, err := strconv.ParseFloat(line[value+1:], 64); err == nil && end > 0 {
			sums[line[:end]] += number
		}
	}
	return sums, nil
}

// countRequests counts the requests of a user since the mark.
func (b *bench) countRequests(mark testbed.Mark, user string, counts func(testbed.AuditEvent) bool) (int, error) {
	events, err := b.cluster.Audit().Since(mark)
	count := 0
	for _, event := range events {
		if event.User == user && counts(event) {
			count++
		}
	}
	return count, err
}

// measureRestart measures a start with all objects in sync.
func (b *bench) measureRestart(ctx context.Context) error {
	peak, err := b.operator.memoryOf("VmHWM")
	if err != nil {
		return err
	}
	b.report.memory.peak = peak
	b.operator.stopProgram()
	mark, err := b.cluster.Audit().Mark()
	if err != nil {
		return err
	}
	if err := b.startOperator(ctx); err != nil {
		return err
	}
	if b.report.restart.writes, err = b.countRequests(mark, operatorUser, testbed.AuditEvent.Mutating); err != nil {
		return err
	}
	read := func(e testbed.AuditEvent) bool { return e.Verb == "get" && e.Resource != "" }
	if b.report.restart.gets, err = b.countRequests(mark, operatorUser, read); err != nil {
		return err
	}
	if b.report.restart.rss, err = b.operator.memoryOf("VmRSS"); err != nil {
		return err
	}
	b.report.restart.peak, err = b.operator.memoryOf("VmHWM")
	return err
}
