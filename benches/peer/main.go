// Peer keeps Redis instances at the size declared, in the way that most operators are written: controller-runtime as it comes, one
// DescribeRedis for each reconcile, a status update where the status changed. It has no account book. For the benchmarks alone.
package main

import (
	"flag"
	"net/http"
	"net/url"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	endpoint := flag.String("api-endpoint", "https://redis.api.qcloud.com/v2/index.php", "URL of the cloud's API")
	metrics := flag.String("metrics-bind-address", ":8080", "where /metrics is served")
	resync := flag.Duration("resync", time.Minute, "how often a still instance is looked at")
	workers := flag.Int("workers", 20, "MaxConcurrentReconciles")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	log := ctrl.Log.WithName("peer")
	fail := func(err error, what string) {
		if err != nil {
			log.Error(err, what)
			os.Exit(1)
		}
	}

	scheme := runtime.NewScheme()
	fail(clientgoscheme.AddToScheme(scheme), "scheme")
	fail(addToScheme(scheme), "scheme")
	address, err := url.Parse(*endpoint)
	fail(err, "--api-endpoint")
	manager, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme:  scheme,
		Metrics: metricsserver.Options{BindAddress: *metrics},
	})
	fail(err, "manager")
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = *workers
	reconciler := &Reconciler{
		Client: manager.GetClient(),
		Cloud:  &Cloud{Endpoint: address, HTTP: &http.Client{Transport: transport, Timeout: 30 * time.Second}},
		Resync: *resync,
	}
	fail(reconciler.SetupWithManager(manager, *workers), "controller")
	fail(manager.Start(ctrl.SetupSignalHandler()), "manager")
}
