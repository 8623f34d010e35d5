// Written by the build of gateway/ui. Path below the root of the UI, hash of the content, content.
&[
    ("assets/config-BCwMioCZ.js", "3ee1c39b2c69c276", include_bytes!("assets/config-BCwMioCZ.js")),
    ("assets/index-B_Gt_M4e.js", "5841765ec52bae28", include_bytes!("assets/index-B_Gt_M4e.js")),
    ("assets/index-Bv28mRN6.css", "5f62c6c51ca5ec06", include_bytes!("assets/index-Bv28mRN6.css")),
    ("assets/look-CtgeCIm2.js", "5fb6a8fa2a548c4a", include_bytes!("assets/look-CtgeCIm2.js")),
    ("assets/page-CnsZ1jie.css", "0fd9465202f6dfce", include_bytes!("assets/page-CnsZ1jie.css")),
    ("assets/page-DFeQvcmE.js", "1051fd9f36daf895", include_bytes!("assets/page-DFeQvcmE.js")),
    ("assets/third-party-licenses.txt", "168cc67105f3199a", include_bytes!("assets/third-party-licenses.txt")),
    ("favicon.svg", "fe0455ce6c20e913", include_bytes!("favicon.svg")),
]
