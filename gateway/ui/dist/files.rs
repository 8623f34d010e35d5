// Written by the build of gateway/ui. Path below the root of the UI, hash of the content, content.
&[
    ("assets/config-CyPVVXpE.js", "1a9865abd7c40765", include_bytes!("assets/config-CyPVVXpE.js")),
    ("assets/index-C7hxnkrV.js", "fd285f30f77e2dca", include_bytes!("assets/index-C7hxnkrV.js")),
    ("assets/index-D8uL0s4n.css", "4d8c17822e6a3419", include_bytes!("assets/index-D8uL0s4n.css")),
    ("assets/look-B6PevNdu.js", "487e50cdf1a9be1e", include_bytes!("assets/look-B6PevNdu.js")),
    ("assets/page-C7D-lfS-.js", "b43b921d1fe1d8d4", include_bytes!("assets/page-C7D-lfS-.js")),
    ("assets/page-CnsZ1jie.css", "0fd9465202f6dfce", include_bytes!("assets/page-CnsZ1jie.css")),
    ("assets/third-party-licenses.txt", "168cc67105f3199a", include_bytes!("assets/third-party-licenses.txt")),
    ("favicon.svg", "fe0455ce6c20e913", include_bytes!("favicon.svg")),
]
