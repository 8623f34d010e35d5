// Written by the build of gateway/ui. Path below the root of the UI, hash of the content, content.
&[
    ("assets/config-DriGMjhi.js", "5aea9a4d758c4c0d", include_bytes!("assets/config-DriGMjhi.js")),
    ("assets/index-Bv28mRN6.css", "5f62c6c51ca5ec06", include_bytes!("assets/index-Bv28mRN6.css")),
    ("assets/index-CaQVuX0r.js", "4971b0394634cad0", include_bytes!("assets/index-CaQVuX0r.js")),
    ("assets/look-CtgeCIm2.js", "5fb6a8fa2a548c4a", include_bytes!("assets/look-CtgeCIm2.js")),
    ("assets/page-C5swXjfV.js", "2aec4010d9cca9ff", include_bytes!("assets/page-C5swXjfV.js")),
    ("assets/page-CnsZ1jie.css", "0fd9465202f6dfce", include_bytes!("assets/page-CnsZ1jie.css")),
    ("assets/third-party-licenses.txt", "168cc67105f3199a", include_bytes!("assets/third-party-licenses.txt")),
    ("favicon.svg", "fe0455ce6c20e913", include_bytes!("favicon.svg")),
]
