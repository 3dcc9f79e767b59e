// One binary with every program of a Kubernetes control plane and node, so that
// a test cluster is one build (one link, one module cache) and not seven.
// The program is picked by the name the binary is called by (a link named
// kubectl is kubectl), else by its first argument. Beside the programs of
// Kubernetes there are two helpers of our own: `pki` writes the keys and
// kubeconfigs of a cluster, `forward` brings its API server to the host.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	_ "time/tzdata" // CronJobs with time zones, on machines without zone files

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubectl's auth plugins
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // metrics of the API client
	_ "k8s.io/component-base/metrics/prometheus/version"  // metric with the version
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// programs maps a program's name to what runs it; the function returns the exit
// code and finds its arguments in os.Args[1:].
var programs = map[string]func() int{
	"etcd":                    runEtcd,
	"kube-apiserver":          run(func() *cobra.Command { return apiserver.NewAPIServerCommand() }),
	"kube-controller-manager": run(func() *cobra.Command { return controllers.NewControllerManagerCommand() }),
	"kube-scheduler":          run(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubelet":                 run(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	"kube-proxy":              run(func() *cobra.Command { return proxy.NewProxyCommand() }),
	"kubectl":                 runKubectl,
	"pki":                     helper(writePKI),
	"forward":                 helper(forward),
}

func main() {
	if _, named := programs[filepath.Base(os.Args[0])]; !named {
		if len(os.Args) < 2 || programs[os.Args[1]] == nil {
			names := make([]string, 0, len(programs))
			for name := range programs {
				names = append(names, name)
			}
			sort.Strings(names)
			fmt.Fprintf(os.Stderr, "usage: kube PROGRAM ARGUMENTS...\nprograms: %s\n", strings.Join(names, ", "))
			os.Exit(2)
		}
		os.Args = os.Args[1:]
	}
	os.Exit(programs[filepath.Base(os.Args[0])]())
}

func run(command func() *cobra.Command) func() int {
	return func() int { return cli.Run(command()) }
}

func helper(f func(args []string) error) func() int {
	return func() int {
		if err := f(os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
			return 1
		}
		return 0
	}
}

func runEtcd() int {
	etcdmain.Main(os.Args)
	return 0
}

// runKubectl does what the upstream main of kubectl does: verbosity is read
// before the command is made, and errors are printed in kubectl's own way.
func runKubectl() int {
	if _, err := logs.GlogSetter(kubectl.GetLogVerbosity(os.Args)); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err) // prints and exits
	}
	return 0
}
