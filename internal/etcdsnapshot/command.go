// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"context"
	"flag"
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
)

// Command is the command etcd-snapshot of the program. Without --lease it needs no access
// to Kubernetes.
func Command(flags *flag.FlagSet) func() error {
	taker := &Taker{Out: os.Stdout, Cluster: ctrl.GetConfig}
	taker.BindFlags(flags)
	return func() error {
		options.LimitMemory()
		ctx := ctrl.SetupSignalHandler()
		if taker.Verify != "" {
			return taker.showContent(ctx)
		}
		_, err := taker.Take(ctx)
		return err
	}
}

// showContent verifies a file, and shows its content.
func (t *Taker) showContent(ctx context.Context) error {
	content, err := VerifyFile(ctx, t.Verify)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.Out, "%s is a good snapshot: %s, revision %d, %d keys, sha256 %s\n", t.Verify, formatBytes(content.Size),
		content.Revision, content.Keys, content.SHA256)
	return nil
}
