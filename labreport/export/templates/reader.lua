-- Reads a JSON list of [format, text] into one Div each: an open fence or a half-written table in
-- one chunk can't swallow the next. The empty last argument keeps pandoc off files and the network.
function Reader(input)
  local blocks = {}
  for _, chunk in ipairs(pandoc.json.decode(tostring(input), false)) do
    local parsed = pandoc.read(chunk[2], chunk[1], PANDOC_READER_OPTIONS, {})
    blocks[#blocks + 1] = pandoc.Div(parsed.blocks)
  end
  return pandoc.Pandoc(blocks)
end
