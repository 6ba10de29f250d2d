-- What a page shows first is prose, figures and sound: imports, exported source, tests and the code of figures are folded.
-- In the notebook nothing is. What only sets the style of figures is left out. Pictures are fetched when they come near the screen.

local function is_test(code)
  local tests, lines = 0, 0
  for line in code:gmatch("[^\n]+") do
    if line:match("^%s*[%w_%]%)}]") and not line:match("^%s*#") then
      lines = lines + 1
      if line:match("^%s*assert ") or line:match("^%s*test_%w+%(") or line:match("ExceptionExpected") then tests = tests + 1 end
    end
  end
  return lines > 0 and tests / lines >= 0.5
end

local function is_import(code)
  for line in code:gmatch("[^\n]+") do
    if not (line:match("^import ") or line:match("^from ") or line:match("^%s+[%w_, ]+%)?$")) then return false end
  end
  return true
end

local function fold(block, summary)
  block.attributes["code-fold"] = "true"
  block.attributes["code-summary"] = summary
  return block
end

function Div(cell)
  if not cell.classes:includes("cell") then return nil end
  local is_figure = cell.identifier:match("^cell%-fig%-") or (cell.attributes.label or ""):match("^fig%-")
  return cell:walk {
    CodeBlock = function(block)
      if not block.classes:includes("cell-code") then return nil end
      if block.text:match("^figure_style%(%);?%s*$") then return {} end
      local given = block.attributes["code-fold"]
      if given == "show" then return fold(block, block.attributes["code-summary"] or "Exported source") end
      if given then return nil end
      if is_import(block.text) then return fold(block, "Imports") end
      if is_test(block.text) then return fold(block, "Tests") end
      if is_figure then return fold(block, "Code of the figure") end
    end
  }
end

local NAMES = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;"}

-- A flag in a sentence, such as --device, is not broken at its hyphens.
function Code(code)
  if #code.classes > 0 or not code.text:find("-", 1, true) then return nil end
  local whole = code.text:gsub("[&<>]", NAMES):gsub("%S+", function(word)
    if word:find("-", 1, true) and #word <= 28 then return '<span class="whole">' .. word .. "</span>" end
  end)
  return pandoc.RawInline("html", "<code>" .. whole .. "</code>")
end

function Image(image)
  if not image.attributes.loading then image.attributes.loading = "lazy" end
  return image
end
