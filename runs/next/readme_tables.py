"""README's list of models, quality table of small, and checkpoint table, from the commands it names."""
import json, re, subprocess
from pathlib import Path
p=Path("README.md"); s=p.read_text()
run=lambda *a: subprocess.run(a,capture_output=True,text=True,check=True).stdout
listed=run("edge-derain","--list-models").rstrip()
a=s.index("`edge-derain --list-models`:"); b=s.index("```\n",a)+4; c=s.index("```",b)
s=s[:b]+listed+"\n"+s[c:]
card=json.load(open("edge_runtime/weights/small_fp32.onnx.json"))
rows=["| %s | %d | %s | %.2f | %.2f | %.4f | %.4f |"%(r["dataset"],r["images"],r["protocol"],r["input_psnr"],r["psnr"],r["input_ssim"],r["ssim"]) for r in card["quality"]]
a=s.index("| validation | 61 | rgb |"); b=s.index("\n\n",a); s=s[:a]+"\n".join(rows)+s[b:]
t=run("derain","table","nano","small","base","gan_lstm","gan_lstm_gan","rescan","jorder","gan_lstm_paper","deconv","deconv_paper").strip()
a=s.index("| network | architecture |"); b=s.index("\n\n",a); s=s[:a]+t[t.index("| network"):].split("\n\n")[0]+s[b:]
p.write_text(s)
