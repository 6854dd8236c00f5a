// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot_test

import (
	"flag"
	"io"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/etcdsnapshot"
)

// parse returns the options of the arguments.
func parse(t *testing.T, arguments ...string) etcdsnapshot.Options {
	t.Helper()
	var o etcdsnapshot.Options
	flags := flag.NewFlagSet("etcd-snapshot", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	o.BindFlags(flags)
	NewWithT(t).Expect(flags.Parse(arguments)).To(Succeed())
	return o
}

// Every wrong argument has a message that names the right setting.
func TestMessagesOnWrongOptionsNameTheRemedy(t *testing.T) {
	files := []string{"--cacert=a", "--cert=b", "--key=c", "--dir=d"}
	for name, test := range map[string]struct{ argument, want string }{
		"no TLS":                {"--endpoints=http://127.0.0.1:2379", "which is not https, but http"},
		"no scheme":             {"--endpoints=127.0.0.1:2379", "which is no address"},
		"no port":               {"--endpoints=https://127.0.0.1", "which has no port"},
		"a path":                {"--endpoints=https://127.0.0.1:2379/v3", "which has more than a host and a port"},
		"a user":                {"--endpoints=https://me@127.0.0.1:2379", "which has more than a host and a port"},
		"no endpoint":           {"--endpoints=", "which is empty"},
		"an empty endpoint":     {"--endpoints=https://127.0.0.1:2379,", "which is empty"},
		"a Lease without place": {"--lease=etcd-snapshot", "use namespace/name"},
		"a Lease without name":  {"--lease=kube-system/", "use namespace/name"},
		"a Lease too deep":      {"--lease=a/b/c", "use namespace/name"},
		"no time":               {"--timeout=0s", "--timeout must be more than 0"},
		"a negative count":      {"--keep-count=-1", "--keep-count must be 0 (no limit) or more"},
		"a negative age":        {"--keep-age=-1h", "--keep-age must be 0 (no limit) or more"},
		"no CA":                 {"--cacert=", "set --cacert"},
		"no certificate":        {"--cert=", "set --cert"},
		"no key":                {"--key=", "set --key"},
		"no folder":             {"--dir=", "set --dir"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			good, wrong := parse(t, files...), parse(t, append(files, test.argument)...)
			g.Expect(good.Check()).To(Succeed())
			g.Expect(wrong.Check()).To(MatchError(ContainSubstring(test.want)))
		})
	}
}

func TestAllWrongOptionsAreListed(t *testing.T) {
	o := parse(t, "--keep-count=-1")
	NewWithT(t).Expect(o.Check()).To(MatchError(And(
		ContainSubstring("--cacert"), ContainSubstring("--cert"), ContainSubstring("--key"), ContainSubstring("--dir"), ContainSubstring("--keep-count"),
	)))
}

func TestGoodOptions(t *testing.T) {
	g := NewWithT(t)
	t.Setenv("NODE_NAME", "cp-1")
	o := parse(t, "--cacert=a", "--cert=b", "--key=c", "--dir=d", "--endpoints=https://[::1]:2379, https://etcd.example.com:2379",
		"--lease=kube-system/etcd.snapshot", "--keep-count=0", "--keep-age=0")
	g.Expect(o.Check()).To(Succeed())
	g.Expect(o.NodeName).To(Equal("cp-1"))
}
