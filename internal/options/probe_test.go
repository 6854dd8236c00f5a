// SPDX-License-Identifier: Apache-2.0

package options_test

import (
	"flag"
	"io"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
)

// probe returns the options of the probe for the arguments.
func probe(t *testing.T, arguments ...string) options.Probe {
	t.Helper()
	var opts options.Probe
	flags := flag.NewFlagSet("probe", flag.ContinueOnError)
	opts.BindFlags(flags)
	NewWithT(t).Expect(flags.Parse(arguments)).To(Succeed())
	return opts
}

func TestProbeMustKnowItsNode(t *testing.T) {
	g := NewWithT(t)
	t.Setenv("NODE_NAME", "")
	nowhere, named := probe(t), probe(t, "--node-name=cp-1")
	g.Expect(nowhere.Check()).To(MatchError(And(ContainSubstring("--node-name"), ContainSubstring("NODE_NAME"))))
	g.Expect(named.Check()).To(Succeed())

	t.Setenv("NODE_NAME", "cp-2")
	fromEnvironment, overridden := probe(t), probe(t, "--node-name=cp-1")
	g.Expect(fromEnvironment.NodeName).To(Equal("cp-2"))
	g.Expect(overridden.NodeName).To(Equal("cp-1"))
}

func TestProbeHasAnotherNameThanTheOperator(t *testing.T) {
	opts := probe(t, "--node-name=operator")
	NewWithT(t).Expect(opts.Check()).To(MatchError(ContainSubstring(`"operator"`)))
}

func TestProbeServesNothingToOthers(t *testing.T) {
	g := NewWithT(t)
	opts := probe(t)
	manager := opts.ManagerOptions()
	g.Expect(manager.Metrics.BindAddress).To(Equal("0"))
	g.Expect(manager.HealthProbeBindAddress).To(HavePrefix("127.0.0.1:"))
	g.Expect(manager.LeaderElection).To(BeFalse())
}

func TestCommands(t *testing.T) {
	tests := map[string]struct {
		arguments []string
		ran, err  string
	}{
		"no command runs the operator":             {ran: "operator"},
		"flags without a command run the operator": {arguments: []string{"--flag=x"}, ran: "operator x"},
		"a name":             {arguments: []string{"probe"}, ran: "probe"},
		"a name and flags":   {arguments: []string{"probe", "--flag", "x"}, ran: "probe x"},
		"an unknown name":    {arguments: []string{"prob"}, err: `unknown command "prob": use probe, or none`},
		"a name after flags": {arguments: []string{"--flag=x", "probe"}, err: `unexpected argument "probe"`},
		"more than one name": {arguments: []string{"probe", "probe"}, err: `unexpected argument "probe"`},
		"an unknown flag":    {arguments: []string{"probe", "--fag"}, err: "not defined: -fag"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			var ran string
			command := func(name string) options.Command {
				return func(flags *flag.FlagSet) func() error {
					value := flags.String("flag", "", "")
					return func() error {
						ran = name
						if *value != "" {
							ran += " " + *value
						}
						return nil
					}
				}
			}
			flags := flag.NewFlagSet("", flag.ContinueOnError)
			flags.SetOutput(io.Discard)
			run, err := options.ParseCommand(flags, test.arguments, map[string]options.Command{"": command("operator"), "probe": command("probe")})
			if test.err != "" {
				g.Expect(err).To(MatchError(ContainSubstring(test.err)))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(run()).To(Succeed())
			g.Expect(ran).To(Equal(test.ran))
		})
	}
}
