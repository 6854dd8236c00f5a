// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// bench is one run.
type bench struct {
	settings
	dir     string // programs and logs
	cluster *testbed.ControlPlane
	admin   client.WithWatch
	report  *report

	operator   *operator
	lastLeader string // as the lease names it
}

// runBench starts a control plane, measures the operator, and prints the report.
func runBench(ctx context.Context, s settings) (err error) {
	ctrl.SetLogger(logr.Discard())
	b := &bench{settings: s, report: newReport(s)}
	if b.dir, err = os.MkdirTemp("", "cpnp-bench-*"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w; the logs are in %s", err, b.dir)
		} else {
			err = os.RemoveAll(b.dir)
		}
	}()
	if err := b.buildOperator(ctx); err != nil {
		return err
	}
	b.cluster, err = testbed.Start(ctx, testbed.Options{CRDPaths: []string{"config/crd/bases"}, AuditLog: true, Progress: showProgress})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.cluster.Stop()) }()
	config := options.UnthrottledConfig(b.cluster.Config)
	if b.admin, err = client.NewWithWatch(config, client.Options{Scheme: options.NewScheme()}); err != nil {
		return err
	}
	defer func() {
		if b.operator != nil {
			b.operator.stopProgram()
		}
	}()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"Filling the cluster", b.fillCluster},
		{"Starting the operator", b.startOperator},
		{"Converging, in turn with a bare client", b.convergeBoth},
		{"Resting, with heartbeats", b.measureRest},
		{"Repairing", b.measureRepairs},
		{"Repairing many objects at once", b.measureBurst},
		{"Starting the operator again", b.measureRestart},
		{"Failing over to a second replica", b.measureFailover},
	} {
		showProgress(step.name)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return b.report.writeTo(os.Stdout)
}

// buildOperator builds the operator's program, unless a program was given.
func (b *bench) buildOperator(ctx context.Context) error {
	if b.program != "" {
		return nil
	}
	showProgress("Building the operator")
	b.program = filepath.Join(b.dir, "operator")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.program, ".")
	build.Stderr = os.Stderr
	return build.Run()
}

func showProgress(step string) { fmt.Fprintln(os.Stderr, step) }
